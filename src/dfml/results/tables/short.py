"""The short table: chance, the pool's models as they are, FREE, the methods with heads, and supervised learning."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfml.catalogue import METHODS, entry
from dfml.results.grid import GridCell
from dfml.results.labels import BATCH_NORMS, in_order, split_label
from dfml.results.summary import average_over_seeds, with_domain_means
from dfml.results.tables.accuracy import MAIN_COLUMNS
from dfml.results.tables.layout import (
    DASH,
    Line,
    data_rows,
    method_cell,
    places,
    rows_at,
    sections,
    value_cell,
    with_leads,
)
from dfml.results.tables.table import Column, Footnotes, Table

# Named beforehand: picked by their accuracy, they would be the luckiest of many.
SHOWN = ("random", "best", "zoo_features", "zoo_ensemble", "free", "mixed_heads", "free_heads")


def short_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """The main table's means for a few methods under its first batch-norm mode.

    These are the methods of SHOWN that ran, those that read the pool's own real images, and a user's own; all that ran
    where a pool has none of them. ``frame`` has RESULT_COLUMNS and fits the grid.
    """
    mode = in_order(frame["batch_norm"], BATCH_NORMS)[0]
    frame, footnotes = with_domain_means(frame[frame["batch_norm"] == mode]), Footnotes()
    means = with_leads(average_over_seeds(frame), frame)
    lines, data = [], []
    for cell, dataset, count in places(frame, _shown(grid), shots):
        rows = rows_at(means, cell, dataset, count)
        if rows.empty:
            continue
        values = {
            (row.rule, mode): (value_cell(f"{row.accuracy:.1f} ± {row.ci95:.1f}", row, footnotes, bold=row.leads),)
            for row in rows.itertuples()
        }
        lines.append(Line(count, cell.pool, dataset, (method_cell(cell.method, footnotes),), values, (DASH,)))
        data += data_rows(rows, cell, dataset, ways=ways, shots=count)
    lead = [Column("method", numeric=False)]
    return Table(
        stem="short",
        caption=f"{split_label(frame).capitalize()} accuracy (%), in short",
        data=pd.DataFrame(data, columns=MAIN_COLUMNS).astype({"seeds": "Int64"}),
        sections=sections(lines, frame, ways=ways, lead=lead, values=["accuracy"]),
        notes=[
            f"Mean over seeds ± 95% interval over episodes; chance is {100 / ways:.4g}%. Bold: the highest mean "
            "without real images, and what no interval over seeds tells apart from it. All methods: the main table.",
        ],
        footnotes=footnotes,
    )


def _shown(grid: Sequence[GridCell]) -> list[GridCell]:
    ran = [cell for cell in grid if cell.reason is None]
    named = {cell.method for cell in ran if cell.method in SHOWN or entry(cell.method).real_images == "own"}
    own = {cell.method for cell in ran if cell.method.partition("-")[0] not in METHODS}
    pools = {cell.pool for cell in ran if cell.method in named | own}
    return [cell for cell in ran if cell.method in named | own or cell.pool not in pools]
