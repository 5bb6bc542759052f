"""Write the tables of zoos and recovered images of an experiment that measures no learner."""

from pathlib import Path
from typing import Any

from dfml.jobs.job import Job, run_job
from dfml.results.stage import make_quality_tables


def _main(snakemake: Any, job: Job) -> None:
    given = (snakemake.input.zoos, snakemake.input.imported, snakemake.input.inversions)
    zoos, imported, inversions = ([Path(file) for file in named] for named in given)
    folder = Path(snakemake.output[0]).parent
    make_quality_tables(
        zoos=zoos, imported=imported, inversions=inversions, pools=snakemake.params.pools, output=folder
    )


run_job(snakemake, _main)
