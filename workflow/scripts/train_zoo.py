"""Train the models of one (data set, architecture, seed)."""

from pathlib import Path
from typing import Any

from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.networks.custom import register_networks
from dfml.networks.settings import NetworkSettings
from dfml.zoo.settings import ZooSettings
from dfml.zoo.stage import train_zoo


def _main(snakemake: Any, job: Job) -> None:
    params, wildcards = snakemake.params, snakemake.wildcards
    folder = Path(snakemake.output.manifest).parent
    register_networks(job.untracked.custom_networks)
    train_zoo(
        Path(snakemake.input.images),
        folder,
        dataset=wildcards.dataset,
        architecture=wildcards.architecture,
        network=NetworkSettings.model_validate(params.network),
        settings=ZooSettings.model_validate(params.settings),
        ways=params.ways,
        seed=int(wildcards.seed),
        code=params.code,
        resume=resume_path(folder),
        job=job,
    )


run_job(snakemake, _main)
