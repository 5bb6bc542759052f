"""Write the table of ICFIL."""

from pathlib import Path
from typing import Any

from dfml.records.icfil import read_icfil
from dfml.runtime.job import Job, run_job
from dfml.tables.icfil import icfil_table
from dfml.tables.writing import write_table


def _main(snakemake: Any, job: Job) -> None:
    records = read_icfil([Path(file) for file in snakemake.input])
    write_table(icfil_table(records), Path(snakemake.output[0]).parent)


run_job(snakemake, _main)
