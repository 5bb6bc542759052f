"""Train some of the models of one (data set, architecture, seed)."""

from pathlib import Path
from typing import Any

from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.networks.custom import register_networks
from dfml.zoo.stage import ZooOrder, train_part


def _main(snakemake: Any, job: Job) -> None:
    output = Path(snakemake.output.part)
    register_networks(job.untracked.custom_networks)
    train_part(
        ZooOrder.of_job(snakemake.params, snakemake.wildcards),
        Path(snakemake.input.images),
        output,
        range(*snakemake.params.positions),
        resume=resume_path(output.with_suffix("")),
        job=job,
    )


run_job(snakemake, _main)
