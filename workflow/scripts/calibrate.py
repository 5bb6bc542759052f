"""Answer the first meta-test episodes with ICFIL and without."""

from pathlib import Path
from typing import Any

from dfml.config.evaluation import EvaluationSettings
from dfml.config.icfil import IcfilSettings
from dfml.icfil.stage import calibrate
from dfml.runtime.job import Job, run_job


def _main(snakemake: Any, job: Job) -> None:
    params = snakemake.params
    calibrate(
        Path(snakemake.input.learner).parent,
        list(dict.fromkeys(Path(file).parent for file in snakemake.input.images)),
        Path(snakemake.output[0]),
        cell=params.cell,
        ways=params.ways,
        evaluation=EvaluationSettings.model_validate(params.evaluation),
        settings=IcfilSettings.model_validate(params.settings),
        job=job,
    )


run_job(snakemake, _main)
