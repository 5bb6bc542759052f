"""Check the models that a card describes and write them as a zoo."""

from pathlib import Path
from typing import Any

from dfml.jobs.job import Job, run_job
from dfml.zoo.imported.store import import_zoo


def _main(snakemake: Any, job: Job) -> None:
    folder = Path(snakemake.output.manifest).parent
    import_zoo(Path(snakemake.input.card), folder, name=snakemake.wildcards.zoo, job=job)


run_job(snakemake, _main)
