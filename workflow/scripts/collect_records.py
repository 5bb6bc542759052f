"""Put every record into one long table, and the means over seeds into metrics.json."""

from pathlib import Path
from typing import Any

from dfml.records import collect_records
from dfml.records.metrics import write_metrics
from dfml.runtime.job import Job, run_job


def _main(snakemake: Any, job: Job) -> None:
    table = Path(snakemake.output.table)
    collect_records([Path(record) for record in snakemake.input], table)
    write_metrics(table, Path(snakemake.output.metrics))


run_job(snakemake, _main)
