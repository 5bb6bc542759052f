"""Collect every record and write every table and figure."""

from pathlib import Path
from typing import Any

from dfml.jobs.job import Job, run_job
from dfml.results.collect import collect_records
from dfml.results.stage import Measurements, draw_figures, make_first_page, make_tables
from dfml.results.summary import write_metrics


def _main(snakemake: Any, job: Job) -> None:
    files, params = snakemake.input, snakemake.params
    table = Path(snakemake.output.table)
    given = (files.records, files.zoos, files.imported, files.inversions, files.speeds, files.bank_zoos)
    records, zoos, imported, inversions, speeds, bank_zoos = ([Path(file) for file in named] for named in given)
    collect_records(records, table, shared=params.shared)
    write_metrics(table, Path(snakemake.output.metrics))
    measured = Measurements.read(
        table, records, grid=params.grid, ways=params.ways, shots=params.shots, shared=params.shared
    )
    make_tables(
        measured,
        zoos=zoos,
        imported=imported,
        inversions=inversions,
        speeds=speeds,
        published=Path(files.published),
        output=table.parent / "tables",
    )
    figures = table.parent / "figures"
    draw_figures(
        measured,
        inversions=inversions,
        speeds=speeds,
        output=figures,
        bank=Path(files.bank[0]) if files.bank else None,
        bank_zoos=bank_zoos,
        label_space=params.label_space,
    )
    make_first_page(measured, figures=figures, output=Path(snakemake.output.first_page))


run_job(snakemake, _main)
