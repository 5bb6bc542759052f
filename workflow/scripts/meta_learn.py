"""Fit the learner of one cell; only a method that is given real images may read them, and no others."""

from pathlib import Path
from typing import Any

from dfml.inversion.settings import InversionSettings
from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.jobs.wall import data_free_wall, real_image_folders
from dfml.methods.base import Context
from dfml.methods.stage import fit_cell, load_settings
from dfml.networks.custom import register_networks
from dfml.networks.settings import LearnerSettings
from dfml.zoo.imported.card import register_cards


def _main(snakemake: Any, job: Job) -> None:
    files, params, untracked = snakemake.input, snakemake.params, job.untracked
    folder = Path(snakemake.output.learner).parent
    images = list(dict.fromkeys(Path(file).parent for file in files.images))
    register_networks(untracked.custom_networks)
    register_cards(untracked.cards.values())
    own = untracked.custom_methods.get(params.cell.method)
    context = Context(
        cell=params.cell,
        ways=params.ways,
        label_space=params.label_space,
        learner=LearnerSettings.model_validate(params.learner),
        access=params.method["access"],
        settings=load_settings(params.method["settings"], params.options),
        adapts=params.method["learner"],
        zoos=[Path(manifest).parent for manifest in files.zoos],
        inversion=Path(files.inversion[0]).parent if files.inversion else None,
        base=Path(files.base[0]).parent if files.base else None,
        images=images,
        inversion_settings=params.inversion and InversionSettings.model_validate(params.inversion),
        job=job,
        resume=resume_path(folder),
    )
    with data_free_wall(real_image_folders(untracked.experiment, untracked.datasets, but=images)):
        fit_cell(context, folder, fit=Path(own).expanduser() if own else params.method["fit"], code=params.code)


run_job(snakemake, _main)
