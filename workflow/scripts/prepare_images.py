"""Read one data set and cut it by its class split."""

from pathlib import Path
from typing import Any

from dfml.artefacts.images import ImagesManifest
from dfml.data.prepare import prepare_images
from dfml.data.settings import DatasetSettings
from dfml.jobs.job import Job, run_job
from dfml.jobs.wall import EMBEDDED


def _main(snakemake: Any, job: Job) -> None:
    prepare_images(
        snakemake.wildcards.dataset,
        DatasetSettings.model_validate(snakemake.params.settings),
        Path(snakemake.output.summary).parent,
        resources=EMBEDDED,
        # Only checks that later stages can work, so no params: a change must not prepare the images again.
        minimum_images=snakemake.params.wanted.images,
        minimum_classes=job.untracked.ways,
        evaluated=snakemake.params.evaluated,
        needed=snakemake.params.wanted.splits,
        workers=snakemake.threads,
    )
    ImagesManifest.load(Path(snakemake.output.summary)).check_episodes(snakemake.params.wanted.episodes)


run_job(snakemake, _main)
