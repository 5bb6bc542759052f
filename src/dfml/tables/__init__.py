"""Tables: from results.csv and the artefacts' summaries to CSV, Markdown, LaTeX and HTML. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfml.records import (
    GridCell,
    check_against_grid,
    read_grid,
    read_inversions,
    read_results_csv,
    read_speeds,
    read_zoos,
)
from dfml.tables.accuracy import by_seed_table, main_table
from dfml.tables.cost import cost_table
from dfml.tables.inversion import inversion_table
from dfml.tables.readme import update_readme
from dfml.tables.speed import speed_table
from dfml.tables.table import Table
from dfml.tables.writing import to_markdown, to_tex, write_table
from dfml.tables.zoo import zoo_table

__all__ = ["TABLES", "Table", "make_tables", "to_markdown", "to_tex", "update_readme", "write_table"]

TABLES = ("main", "main_by_seed", "zoo", "inversion", "speed", "cost")
"""Stems of the tables that ``make_tables`` writes, each as .csv, .md, .tex and .html."""


def make_tables(
    *,
    results: Path,
    zoos: Sequence[Path],
    inversions: Sequence[Path],
    speeds: Sequence[Path],
    grid: Iterable[GridCell | Sequence[str | None]],
    ways: int,
    shots: Sequence[int],
    output: Path,
) -> list[Path]:
    """The whole rule: write every table of TABLES into the folder ``output``; returns the files.

    ``results`` is results.csv; ``zoos``, ``inversions`` and ``speeds`` are zoo.json, inversion.json and
    speed.json files (none is fine, the table then says so); ``grid`` has a row (pool, method, status, reason)
    per pair in table order, with status "run", "n/a" or "not run". Raises DfmlError when a file is malformed
    or results.csv holds a cell that the grid does not run.
    """
    cells, frame = read_grid(grid), read_results_csv(results)
    check_against_grid(frame, cells, ways=ways, shots=shots)
    pools = list(dict.fromkeys(cell.pool for cell in cells))
    tables = [
        main_table(frame, cells, ways=ways, shots=shots),
        by_seed_table(frame, cells, ways=ways, shots=shots),
        zoo_table(read_zoos(zoos)),
        inversion_table(read_inversions(inversions), pools=pools),
        speed_table(read_speeds(speeds), pools=pools),
        cost_table(frame, cells, ways=ways, shots=shots),
    ]
    return [path for table in tables for path in write_table(table, Path(output))]
