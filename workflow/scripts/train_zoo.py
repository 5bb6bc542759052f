"""Train the models of one (data set, architecture, seed), or put together what other jobs have trained."""

from pathlib import Path
from typing import Any

from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.networks.custom import register_networks
from dfml.zoo.settings import parts_of
from dfml.zoo.stage import ZooOrder, train_zoo


def _main(snakemake: Any, job: Job) -> None:
    folder = Path(snakemake.output.manifest).parent
    register_networks(job.untracked.custom_networks)
    order = ZooOrder.of_job(snakemake.params, snakemake.wildcards)
    ranges = parts_of(order.network, order.settings, job.runtime.models_per_job)
    train_zoo(
        order,
        Path(snakemake.input.images),
        folder,
        resume=resume_path(folder),
        job=job,
        parts=list(zip(ranges, map(Path, snakemake.input.parts), strict=True)),
    )


run_job(snakemake, _main)
