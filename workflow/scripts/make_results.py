"""Collect every record and write every table and figure."""

from pathlib import Path
from typing import Any

from dfml.jobs.job import Job, run_job
from dfml.results.collect import collect_records
from dfml.results.stage import draw_figures, make_first_page, make_tables
from dfml.results.summary import write_metrics


def _main(snakemake: Any, job: Job) -> None:
    files, params = snakemake.input, snakemake.params
    table = Path(snakemake.output.table)
    given = (files.records, files.zoos, files.imported, files.inversions, files.speeds)
    records, zoos, imported, inversions, speeds = ([Path(file) for file in named] for named in given)
    collect_records(records, table, shared=params.shared)
    write_metrics(table, Path(snakemake.output.metrics))
    common = {"results": table, "records": records, "shared": params.shared}
    common |= {
        "inversions": inversions,
        "speeds": speeds,
        "grid": params.grid,
        "ways": params.ways,
        "shots": params.shots,
    }
    make_tables(**common, zoos=zoos, imported=imported, published=Path(files.published), output=table.parent / "tables")
    figures = table.parent / "figures"
    draw_figures(
        **common,
        output=figures,
        bank=Path(files.bank[0]) if files.bank else None,
        bank_zoos=[Path(file) for file in files.bank_zoos],
        label_space=params.label_space,
    )
    layout = {"results": table, "grid": params.grid, "ways": params.ways, "shots": params.shots}
    make_first_page(**layout, figures=figures, output=Path(snakemake.output.first_page))


run_job(snakemake, _main)
