"""Write every table."""

from pathlib import Path
from typing import Any

from dfml.runtime.job import Job, run_job
from dfml.tables import make_tables


def _main(snakemake: Any, job: Job) -> None:
    files, params = snakemake.input, snakemake.params
    make_tables(
        results=Path(files.results),
        zoos=[Path(file) for file in files.zoos],
        inversions=[Path(file) for file in files.inversions],
        speeds=[Path(file) for file in files.speeds],
        grid=params.grid,
        ways=params.ways,
        shots=params.shots,
        output=Path(snakemake.output[0]).parent,
    )


run_job(snakemake, _main)
