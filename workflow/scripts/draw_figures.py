"""Draw every figure."""

from pathlib import Path
from typing import Any

from dfml.figures import draw_figures
from dfml.runtime.job import Job, run_job


def _main(snakemake: Any, job: Job) -> None:
    files, params = snakemake.input, snakemake.params
    draw_figures(
        results=Path(files.results),
        records=[Path(file) for file in files.records],
        inversions=[Path(file) for file in files.inversions],
        speeds=[Path(file) for file in files.speeds],
        grid=params.grid,
        ways=params.ways,
        shots=params.shots,
        output=Path(snakemake.output[0]).parent,
    )


run_job(snakemake, _main)
