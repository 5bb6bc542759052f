"""What tables of methods by pool share: their places, lines, marks and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dfml.results.grid import NOT_APPLICABLE, NOT_RUN, RUN, STATUS_IN_CSV, GridCell
from dfml.results.labels import (
    BATCH_NORMS,
    RULES,
    batch_norm_label,
    in_order,
    method_label,
    real_images_note,
    rule_label,
    rule_note,
)
from dfml.results.summary import MEASURED, datasets_of, leaders
from dfml.results.tables.table import Column, Footnotes, TableCell, TableSection

DASH = TableCell("–")


@dataclass(frozen=True)
class Line:
    """One printed row: its place, its leading cells, its values per (rule, batch norm), else ``blank``."""

    shots: int
    pool: str
    dataset: str
    lead: tuple[TableCell, ...]
    values: Mapping[tuple[Any, Any], tuple[TableCell, ...]]
    blank: tuple[TableCell, ...]


def places(frame: pd.DataFrame, grid: Sequence[GridCell], shots: Sequence[int]) -> list[tuple[GridCell, str, int]]:
    """Every (grid cell, data set, shots) to print, in the order of shots, pools, data sets and methods."""
    pools = list(dict.fromkeys(cell.pool for cell in grid))
    places = []
    for count in shots:
        for pool in pools:
            datasets = datasets_of(frame, pool) or [""]
            places += [
                (cell, name, count) for name in datasets for cell in grid if cell.pool == pool and cell.wants(count)
            ]
    return places


def with_leads(means: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with a column ``leads``: the leaders among the methods that read no real image."""
    ahead = leaders(frame[~frame["method"].map(real_images_note).astype(bool)])
    return means.assign(leads=[key in ahead for key in means[MEASURED].itertuples(index=False, name=None)])


def rows_at(frame: pd.DataFrame, cell: GridCell, dataset: str, shots: int) -> pd.DataFrame:
    """The rows of ``frame`` that belong to one place."""
    chosen = (frame["pool"] == cell.pool) & (frame["method"] == cell.method)
    return frame[chosen & (frame["dataset"] == dataset) & (frame["shots"] == shots)]


def status_of(cell: GridCell, rows: pd.DataFrame) -> tuple[str, str]:
    """(status, note): a cell that should have run but left no record counts as not run."""
    if cell.reason is not None:
        return NOT_APPLICABLE, cell.reason
    return (NOT_RUN if rows.empty else RUN), real_images_note(cell.method)


def method_cell(method: str, footnotes: Footnotes) -> TableCell:
    """The method's name, marked when it reads real images."""
    note = real_images_note(method)
    return TableCell(method_label(method), mark=footnotes.mark(note) if note else "")


def blank_cell(cell: GridCell, rows: pd.DataFrame, footnotes: Footnotes) -> TableCell:
    """What stands where no number is: n/a with its reason, not run, or a dash for a rule not evaluated."""
    status, note = status_of(cell, rows)
    if status == NOT_APPLICABLE:
        return TableCell(NOT_APPLICABLE, mark=footnotes.mark(f"n/a: {note}"))
    return TableCell(NOT_RUN) if status == NOT_RUN else DASH


def value_cell(text: str, row: Any, footnotes: Footnotes, *, bold: bool = False) -> TableCell:
    """A number of one method under one rule, marked where the rule is not quite what its name says."""
    note = rule_note(row.method, row.rule)
    return TableCell(text, mark=footnotes.mark(note) if note else "", bold=bold)


def data_rows(rows: pd.DataFrame, cell: GridCell, dataset: str, *, ways: int, shots: int) -> list[dict]:
    """CSV rows of one place: its numbers, or one row that says why there are none."""
    status, note = status_of(cell, rows)
    shared = {"status": STATUS_IN_CSV[status], "note": note}
    if rows.empty:
        place = {"pool": cell.pool, "dataset": dataset, "ways": ways, "shots": shots, "method": cell.method}
        return [{**place, **shared}]
    return [
        {**row, **shared, "note": "; ".join(filter(None, [note, rule_note(row["method"], row["rule"])]))}
        for row in rows.to_dict("records")
    ]


def sections(
    lines: Sequence[Line],
    frame: pd.DataFrame,
    *,
    ways: int,
    lead: Sequence[Column],
    values: Sequence[str],
) -> list[TableSection]:
    """One section per (shots, batch norm); pool and data set are printed where they change."""
    sections = []
    for count in dict.fromkeys(line.shots for line in lines):
        for mode in in_order(frame["batch_norm"], BATCH_NORMS):
            rules = in_order(frame.loc[frame["batch_norm"] == mode, "rule"], RULES)
            columns = [Column("pool", numeric=False), Column("data set", numeric=False), *lead]
            columns += [Column(title, group=rule_label(rule)) for rule in rules for title in values]
            rows: list[list[TableCell]] = []
            breaks: set[int] = set()
            previous = ("", "")
            for line in (line for line in lines if line.shots == count):
                place = (line.pool, line.dataset)
                if place != previous:
                    breaks.add(len(rows))
                shown = ("", "") if place == previous else place
                cells = [cell for rule in rules for cell in line.values.get((rule, mode), line.blank)]
                rows.append([TableCell(shown[0]), TableCell(shown[1]), *line.lead, *cells])
                previous = place
            title = f"{ways}-way {count}-shot, batch norm: {batch_norm_label(mode)}"
            sections.append(TableSection(title, columns, rows, frozenset(breaks)))
    return sections
