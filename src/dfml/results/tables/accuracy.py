"""The main table: every method's accuracy on every pool, and the same seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dfml.results.grid import GridCell
from dfml.results.labels import split_label
from dfml.results.summary import MEASURED, average_over_seeds, with_domain_means
from dfml.results.tables.layout import (
    DASH,
    Line,
    blank_cell,
    data_rows,
    method_cell,
    places,
    rows_at,
    sections,
    value_cell,
    with_leads,
)
from dfml.results.tables.table import Column, Footnotes, Table, TableCell

MAIN_COLUMNS = [*MEASURED, "accuracy", "ci95", "seed_sd", "seeds", "leads", "status", "note"]
"""Columns of the CSV files of tables of means over seeds."""

_SEED_COLUMNS = [*MEASURED, "seed", "accuracy", "ci95", "episodes", "record", "status", "note"]


def main_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """Mean over seeds ± 95 % interval over episodes, and the spread over seeds, for every cell of the grid.

    ``frame`` has RESULT_COLUMNS and fits the grid. Sections are (shots, batch norm); rows are methods by pool
    and data set; columns are adaptation rules. In bold are the :func:`dfml.results.summary.leaders` among the methods
    that read no real image.
    """
    frame, footnotes = with_domain_means(frame), Footnotes()
    means = with_leads(average_over_seeds(frame), frame)
    lines, data = [], []
    for cell, dataset, count in places(frame, grid, shots):
        rows = rows_at(means, cell, dataset, count)
        method = method_cell(cell.method, footnotes)
        values = {
            (row.rule, row.batch_norm): (
                value_cell(f"{row.accuracy:.2f} ± {row.ci95:.2f}", row, footnotes, bold=row.leads),
                _spread_cell(row),
            )
            for row in rows.itertuples()
        }
        blank = (blank_cell(cell, rows, footnotes), DASH)
        lines.append(Line(count, cell.pool, dataset, (method,), values, blank))
        data += data_rows(rows, cell, dataset, ways=ways, shots=count)
    lead = [Column("method", numeric=False)]
    return Table(
        stem="main",
        caption=f"{split_label(frame).capitalize()} accuracy (%)",
        data=pd.DataFrame(data, columns=MAIN_COLUMNS).astype({"seeds": "Int64"}),
        sections=sections(lines, frame, ways=ways, lead=lead, values=["accuracy", "sd (seeds)"]),
        notes=_main_notes(frame, ways),
        footnotes=footnotes,
    )


def by_seed_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """The same numbers before averaging: one row per seed; the CSV names the record of each."""
    frame, footnotes = with_domain_means(frame), Footnotes()
    lines, data = [], []
    for cell, dataset, count in places(frame, grid, shots):
        rows = rows_at(frame, cell, dataset, count)
        method = method_cell(cell.method, footnotes)
        blank = (blank_cell(cell, rows, footnotes),)
        if rows.empty:
            lines.append(Line(count, cell.pool, dataset, (method, DASH), {}, blank))
        for seed, own in rows.groupby("seed"):
            values = {
                (row.rule, row.batch_norm): (value_cell(f"{row.accuracy:.2f} ± {row.ci95:.2f}", row, footnotes),)
                for row in own.itertuples()
            }
            lines.append(Line(count, cell.pool, dataset, (method, TableCell(str(seed))), values, blank))
        data += data_rows(rows, cell, dataset, ways=ways, shots=count)
    lead = [Column("method", numeric=False), Column("seed")]
    return Table(
        stem="main_by_seed",
        caption=f"{split_label(frame).capitalize()} accuracy (%), seed by seed",
        data=pd.DataFrame(data, columns=_SEED_COLUMNS).astype({"seed": "Int64", "episodes": "Int64"}),
        sections=sections(lines, frame, ways=ways, lead=lead, values=["accuracy"]),
        notes=[
            "± is the 95% interval over episodes of one trained learner: 1.96 · sd / √episodes, ddof = 0.",
            "The record that a row's numbers come from is named in results.csv.",
            "A seed covers the whole chain: zoo, inversion and meta-learning; all share the episodes.",
        ],
        footnotes=footnotes,
    )


def _spread_cell(row: Any) -> TableCell:
    """``0.74 (3)``: sample sd over seeds and how many there are."""
    spread = "–" if pd.isna(row.seed_sd) else f"{row.seed_sd:.2f}"
    return TableCell(f"{spread} ({row.seeds})")


def _main_notes(frame: pd.DataFrame, ways: int) -> list[str]:
    """What the numbers mean and how they were chosen."""
    episodes = " or ".join(str(count) for count in sorted(frame["episodes"].unique()))
    selection = " or ".join(sorted(frame["selection"].unique()))
    return [
        f"Mean over seeds ± 95% interval over the {episodes} fixed {split_label(frame)} episodes. One seed: "
        "1.96 · sd / √episodes; n seeds: √(Σ ci²) / n. Seeds are trained independently but share the "
        "episodes, so the interval leaves out the error that all seeds have in common.",
        "sd (seeds): sample standard deviation over seeds, and their number.",
        "Bold: the highest mean among the methods that read no real image, and every other that Student's 95% interval "
        "over seeds of their paired difference does not tell apart from it, per pool, data set and column. Nothing is "
        "bold with one seed, or where nothing is told apart. No interval is corrected for the number of comparisons.",
        f"Chance is {100 / ways:.4g}%. Evaluated iterate: {selection}; never chosen on meta-test.",
        "A dash: the method was not evaluated under this rule.",
    ]
