"""Fit the learner of one cell; only a method that is given real images may read them, and no others."""

from pathlib import Path
from typing import Any

from dfml.inversion.settings import InversionSettings
from dfml.jobs.checkpoint import resume_path
from dfml.jobs.job import Job, run_job
from dfml.jobs.wall import data_free_wall, real_image_folders
from dfml.methods.fit import fit_method
from dfml.networks.settings import NetworkSettings


def _main(snakemake: Any, job: Job) -> None:
    files, params = snakemake.input, snakemake.params
    folder = Path(snakemake.output.learner).parent
    images = list(dict.fromkeys(Path(file).parent for file in files.images))
    own = snakemake.config["custom_methods"].get(params.cell.method)
    with data_free_wall(real_image_folders(snakemake.config, but=images)):
        fit_method(
            folder,
            cell=params.cell,
            zoos=[Path(manifest).parent for manifest in files.zoos],
            inversion=Path(files.inversion[0]).parent if files.inversion else None,
            images=images or None,
            ways=params.ways,
            label_space=params.label_space,
            learner=NetworkSettings.model_validate(params.learner),
            options=params.options,
            inversion_settings=params.inversion and InversionSettings.model_validate(params.inversion),
            code=params.code,
            resume=resume_path(folder),
            checkpoint_every=snakemake.config["runtime"]["checkpoint_every"],
            job=job,
            file=own and Path(own).expanduser(),
        )


run_job(snakemake, _main)
