"""Time FIVE against per-model inversion, without reading any real image."""

from pathlib import Path
from typing import Any

from dfml.inversion.settings import InversionSettings
from dfml.inversion.timing import time_inversion
from dfml.jobs.job import Job, run_job
from dfml.jobs.wall import data_free_wall, real_image_folders
from dfml.networks.custom import register_networks
from dfml.zoo.imported.card import register_cards


def _main(snakemake: Any, job: Job) -> None:
    untracked = job.untracked
    register_networks(untracked.custom_networks)
    register_cards(untracked.cards.values())
    with data_free_wall(real_image_folders(untracked.experiment, untracked.datasets)):
        time_inversion(
            [Path(manifest).parent for manifest in snakemake.input.zoos],
            Path(snakemake.input.summary).parent,
            Path(snakemake.output[0]),
            pool=snakemake.wildcards.pool,
            settings=InversionSettings.model_validate(snakemake.params.settings),
            seed=snakemake.params.seed,
            job=job,
        )


run_job(snakemake, _main)
