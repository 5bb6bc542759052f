"""The table of differences to the row `best`, on the same episodes, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dfml.results.grid import GridCell
from dfml.results.labels import method_label
from dfml.results.paired import REFERENCE
from dfml.results.summary import MEASURED, average_over_seeds, told_apart, with_domain_means
from dfml.results.tables.layout import (
    DASH,
    Line,
    blank_cell,
    data_rows,
    method_cell,
    places,
    rows_at,
    sections,
    status_of,
    value_cell,
)
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection

_COLUMNS = [*MEASURED, "over_best", "over_best_t95", "over_best_ci95", "seeds", "status", "note"]
_NAME = method_label(REFERENCE)


def difference_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """Mean over seeds of the paired difference ± Student's interval over seeds, and the interval over episodes.

    ``frame`` has RESULT_COLUMNS and fits the grid. Laid out as the main table; a pool without the reference has no
    rows, and a note says so. In bold are differences whose interval over seeds excludes zero.
    """
    compared = set(frame.loc[frame["method"] == REFERENCE, "pool"])
    left_out = [pool for pool in dict.fromkeys(cell.pool for cell in grid) if pool not in compared]
    grid = [cell for cell in grid if cell.pool in compared]
    frame, footnotes = with_domain_means(frame), Footnotes()
    means = average_over_seeds(frame)
    lines, data = [], []
    for cell, dataset, count in places(frame, grid, shots):
        rows = rows_at(means, cell, dataset, count)
        status, note = status_of(cell, rows)
        method = method_cell(cell.method, footnotes)
        values = {(row.rule, row.batch_norm): _cells(row, footnotes) for row in rows.itertuples()}
        blank = (blank_cell(status, note, footnotes), DASH)
        lines.append(Line(count, cell.pool, dataset, (method,), values, blank))
        place = {"pool": cell.pool, "dataset": dataset, "ways": ways, "shots": count, "method": cell.method}
        data += data_rows(rows, place, status, note)
    lead = [Column("method", numeric=False)]
    parts = sections(lines, frame, ways=ways, lead=lead, values=["difference (seeds)", "± episodes"])
    return Table(
        stem="difference",
        caption=f"Difference to {_NAME} on the same episodes (points)",
        data=pd.DataFrame(data, columns=_COLUMNS).astype({"seeds": "Int64"}),
        sections=parts or [TableSection("", lead, [])],
        notes=_notes(left_out) if compared else [f"No pool has a record of {_NAME}: there is nothing to compare with."],
        footnotes=footnotes,
    )


def _cells(row: Any, footnotes: Footnotes) -> tuple[TableCell, TableCell]:
    """``+1.20 ± 0.80 (3)`` and ``0.31``; for one seed n/a in place of the interval over seeds."""
    if row.method == REFERENCE:
        return TableCell("reference"), DASH
    if pd.isna(row.over_best):
        return DASH, DASH
    over_seeds = "n/a" if pd.isna(row.over_best_t95) else f"{row.over_best_t95:.2f}"
    text = f"{row.over_best:+.2f} ± {over_seeds} ({row.seeds})"
    bold = told_apart(row.over_best, row.over_best_t95)
    return value_cell(text, row, footnotes, bold=bold), TableCell(f"{row.over_best_ci95:.2f}")


def _notes(left_out: Sequence[str]) -> list[str]:
    """What the numbers mean, and which pools have none."""
    notes = [
        f"Accuracy minus that of {_NAME} of the same pool, seed, data set, rule and batch norm, episode by episode: "
        "both answer the same queries. Mean over seeds ± Student's 95% interval over seeds, t(0.975, n - 1) · sd / √n "
        "with ddof = 1, and in brackets the number n of seeds. A seed covers the whole chain: zoo, inversion and "
        "meta-learning.",
        "± episodes: the 95% interval of the same difference over the episodes. One seed: 1.96 · sd / √episodes of its "
        "differences; n seeds: √(Σ ci²) / n, which leaves out what the shared episodes have in common. It says nothing "
        "about training again; with one seed, which has no interval over seeds (n/a), it is all there is.",
        "Bold: the interval over seeds excludes zero. No interval is corrected for the number of comparisons.",
        f"A dash: the method, or {_NAME}, was not evaluated under this rule.",
    ]
    if left_out:
        notes.append(f"Left out, since {_NAME} was not run on them: {', '.join(left_out)}.")
    return notes
