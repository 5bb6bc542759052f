"""Recover images from the models of one pool, without reading any real image."""

from pathlib import Path
from typing import Any

from dfml.inversion.settings import InversionSettings
from dfml.inversion.stage import invert
from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.jobs.wall import data_free_wall, real_image_folders
from dfml.networks.custom import register_networks
from dfml.zoo.imported.card import register_cards


def _main(snakemake: Any, job: Job) -> None:
    params, wildcards = snakemake.params, snakemake.wildcards
    folder = Path(snakemake.output.summary).parent
    untracked = job.untracked
    register_networks(untracked.custom_networks)
    register_cards(untracked.cards.values())
    with data_free_wall(real_image_folders(untracked.experiment, untracked.datasets)):
        invert(
            [Path(manifest).parent for manifest in snakemake.input.zoos],
            folder,
            pool=wildcards.pool,
            inverter=params.inverter,
            name=wildcards.inverter,
            settings=InversionSettings.model_validate(params.settings),
            label_space=params.label_space,
            seed=int(wildcards.seed),
            code=params.code,
            resume=resume_path(folder),
            job=job,
        )


run_job(snakemake, _main)
