"""The table of differences to the pool's best model, on the same episodes, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dfml.results.grid import GridCell
from dfml.results.labels import method_label
from dfml.results.paired import REFERENCES, reference_of
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
    value_cell,
)
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection

_COLUMNS = [*MEASURED, "over_best", "over_best_t95", "over_best_ci95", "seeds", "status", "note"]
_NAMES = [method_label(name) for name in REFERENCES]


def difference_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """Mean over seeds of the paired difference ± Student's interval over seeds, and the interval over episodes.

    ``frame`` has RESULT_COLUMNS and fits the grid. Laid out as the main table; a pool without a best model has no
    rows, and a note says so. In bold are differences whose interval over seeds excludes zero.
    """
    references = {
        pool: reference_of(frame.loc[frame["pool"] == pool, "method"]) for pool in dict.fromkeys(c.pool for c in grid)
    }
    grid = [cell for cell in grid if references[cell.pool]]
    frame, footnotes = with_domain_means(frame), Footnotes()
    means = average_over_seeds(frame)
    lines, data = [], []
    for cell, dataset, count in places(frame, grid, shots):
        rows = rows_at(means, cell, dataset, count)
        method = method_cell(cell.method, footnotes)
        values = {
            (row.rule, row.batch_norm): _cells(row, references[cell.pool], footnotes) for row in rows.itertuples()
        }
        blank = (blank_cell(cell, rows, footnotes), DASH)
        lines.append(Line(count, cell.pool, dataset, (method,), values, blank))
        data += data_rows(rows, cell, dataset, ways=ways, shots=count)
    lead = [Column("method", numeric=False)]
    parts = sections(lines, frame, ways=ways, lead=lead, values=["difference (seeds)", "± episodes"])
    return Table(
        stem="difference",
        caption="Difference to the pool's best model on the same episodes (points)",
        data=pd.DataFrame(data, columns=_COLUMNS).astype({"seeds": "Int64"}),
        sections=parts or [TableSection("", lead, [])],
        notes=_notes(references)
        if grid
        else [f"No pool has a record of {' or '.join(_NAMES)}: there is nothing to compare with."],
        footnotes=footnotes,
    )


def _cells(row: Any, reference: str | None, footnotes: Footnotes) -> tuple[TableCell, TableCell]:
    """``+1.20 ± 0.80 (3)`` and ``0.31``; for one seed n/a in place of the interval over seeds."""
    if row.method == reference:
        return TableCell("reference"), DASH
    if pd.isna(row.over_best):
        return DASH, DASH
    over_seeds = "n/a" if pd.isna(row.over_best_t95) else f"{row.over_best_t95:.2f}"
    text = f"{row.over_best:+.2f} ± {over_seeds} ({row.seeds})"
    bold = told_apart(row.over_best, row.over_best_t95)
    return value_cell(text, row, footnotes, bold=bold), TableCell(f"{row.over_best_ci95:.2f}")


def _notes(references: Mapping[str, str | None]) -> list[str]:
    """What the numbers mean, which row they are compared with, and which pools have none."""
    first, second = _NAMES
    features = [pool for pool, name in references.items() if name == REFERENCES[1]]
    left_out = [pool for pool, name in references.items() if name is None]
    notes = [
        f"Accuracy minus that of the pool's best model ({first}) of the same seed, data set, rule and batch norm, "
        "episode by episode: both answer the same queries. Mean over seeds ± Student's 95% interval over seeds, "
        "t(0.975, n - 1) · sd / √n with ddof = 1, and in brackets the number n of seeds. A seed covers the whole "
        "chain: zoo, inversion and meta-learning.",
        "± episodes: the 95% interval of the same difference over the episodes. One seed: 1.96 · sd / √episodes of its "
        "differences; n seeds: √(Σ ci²) / n, which leaves out what the shared episodes have in common. It says nothing "
        "about training again; with one seed, which has no interval over seeds (n/a), it is all there is.",
        "Bold: the interval over seeds excludes zero. No interval is corrected for the number of comparisons.",
        "A dash: the method, or the best model, was not evaluated under this rule.",
    ]
    if features:
        notes.append(
            f"Compared with the best model's frozen features ({second}), as {first} was not run: {', '.join(features)}."
        )
    if left_out:
        notes.append(f"Left out, since neither {first} nor {second} was run on them: {', '.join(left_out)}.")
    return notes
