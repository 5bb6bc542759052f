"""The main table: every method's accuracy on every pool, and the same seed by seed."""

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
)
from dfml.results.summary import MEASURED, average_over_seeds, datasets_of, with_domain_means
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection

_DASH = TableCell("–")
_MAIN_COLUMNS = [*MEASURED, "accuracy", "ci95", "seed_sd", "seeds", "status", "note"]
_SEED_COLUMNS = [*MEASURED, "seed", "accuracy", "ci95", "episodes", "record", "status", "note"]


@dataclass(frozen=True)
class _Line:
    """One printed row: its place, its leading cells, its values per (rule, batch norm), else ``blank``."""

    shots: int
    pool: str
    dataset: str
    lead: tuple[TableCell, ...]
    values: Mapping[tuple[Any, Any], tuple[TableCell, ...]]
    blank: tuple[TableCell, ...]


def main_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """Mean over seeds ± 95 % interval over episodes, and the spread over seeds, for every cell of the grid.

    ``frame`` has RESULT_COLUMNS and fits the grid. Sections are (shots, batch norm); rows are methods by pool
    and data set; columns are adaptation rules.
    """
    frame, footnotes = with_domain_means(frame), Footnotes()
    means = average_over_seeds(frame)
    lines, data = [], []
    for cell, dataset, count in _places(frame, grid, shots):
        rows = _at(means, cell, dataset, count)
        status, note = _status(cell, rows)
        method = _method_cell(cell.method, footnotes)
        values = {
            (row.rule, row.batch_norm): (TableCell(f"{row.accuracy:.2f} ± {row.ci95:.2f}"), _spread_cell(row))
            for row in rows.itertuples()
        }
        blank = (_blank_cell(status, note, footnotes), _DASH)
        lines.append(_Line(count, cell.pool, dataset, (method,), values, blank))
        place = {"pool": cell.pool, "dataset": dataset, "ways": ways, "shots": count, "method": cell.method}
        data += _data_rows(rows, place, status, note)
    lead = [Column("method", numeric=False)]
    return Table(
        stem="main",
        caption="Meta-test accuracy (%)",
        data=pd.DataFrame(data, columns=_MAIN_COLUMNS).astype({"seeds": "Int64"}),
        sections=_sections(lines, frame, ways=ways, lead=lead, values=["accuracy", "sd (seeds)"]),
        notes=_main_notes(frame, ways),
        footnotes=footnotes,
    )


def by_seed_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """The same numbers before averaging: one row per seed; the CSV names the record of each."""
    frame, footnotes = with_domain_means(frame), Footnotes()
    lines, data = [], []
    for cell, dataset, count in _places(frame, grid, shots):
        rows = _at(frame, cell, dataset, count)
        status, note = _status(cell, rows)
        method = _method_cell(cell.method, footnotes)
        blank = (_blank_cell(status, note, footnotes),)
        if rows.empty:
            lines.append(_Line(count, cell.pool, dataset, (method, _DASH), {}, blank))
        for seed, own in rows.groupby("seed"):
            values = {
                (row.rule, row.batch_norm): (TableCell(f"{row.accuracy:.2f} ± {row.ci95:.2f}"),)
                for row in own.itertuples()
            }
            lines.append(_Line(count, cell.pool, dataset, (method, TableCell(str(seed))), values, blank))
        place = {"pool": cell.pool, "dataset": dataset, "ways": ways, "shots": count, "method": cell.method}
        data += _data_rows(rows, place, status, note)
    lead = [Column("method", numeric=False), Column("seed")]
    return Table(
        stem="main_by_seed",
        caption="Meta-test accuracy (%), seed by seed",
        data=pd.DataFrame(data, columns=_SEED_COLUMNS).astype({"seed": "Int64", "episodes": "Int64"}),
        sections=_sections(lines, frame, ways=ways, lead=lead, values=["accuracy"]),
        notes=[
            "± is the 95% interval over episodes of one trained learner: 1.96 · sd / √episodes, ddof = 0.",
            "The record that a row's numbers come from is named in results.csv.",
            "A seed covers the whole chain: zoo, inversion and meta-learning; all share the episodes.",
        ],
        footnotes=footnotes,
    )


def _places(frame: pd.DataFrame, grid: Sequence[GridCell], shots: Sequence[int]) -> list[tuple[GridCell, str, int]]:
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


def _at(frame: pd.DataFrame, cell: GridCell, dataset: str, shots: int) -> pd.DataFrame:
    """The rows of ``frame`` that belong to one place."""
    chosen = (frame["pool"] == cell.pool) & (frame["method"] == cell.method)
    return frame[chosen & (frame["dataset"] == dataset) & (frame["shots"] == shots)]


def _status(cell: GridCell, rows: pd.DataFrame) -> tuple[str, str]:
    """(status, note): a cell that should have run but left no record counts as not run."""
    if cell.status == NOT_APPLICABLE:
        return NOT_APPLICABLE, cell.reason or ""
    return (NOT_RUN if rows.empty else RUN), real_images_note(cell.method)


def _method_cell(method: str, footnotes: Footnotes) -> TableCell:
    """The method's name, marked when it reads real images."""
    note = real_images_note(method)
    return TableCell(method_label(method), mark=footnotes.mark(note) if note else "")


def _blank_cell(status: str, note: str, footnotes: Footnotes) -> TableCell:
    """What stands where no number is: n/a with its reason, not run, or a dash for a rule not evaluated."""
    if status == NOT_APPLICABLE:
        return TableCell(NOT_APPLICABLE, mark=footnotes.mark(f"n/a: {note}"))
    return TableCell(NOT_RUN) if status == NOT_RUN else _DASH


def _spread_cell(row: Any) -> TableCell:
    """``0.74 (3)``: sample sd over seeds and how many there are."""
    spread = "–" if pd.isna(row.seed_sd) else f"{row.seed_sd:.2f}"
    return TableCell(f"{spread} ({row.seeds})")


def _data_rows(rows: pd.DataFrame, place: dict[str, object], status: str, note: str) -> list[dict]:
    """CSV rows of one place: its numbers, or one row that says why there are none."""
    shared = {"status": STATUS_IN_CSV[status], "note": note}
    if rows.empty:
        return [{**place, **shared}]
    return [{**row, **shared} for row in rows.to_dict("records")]


def _sections(
    lines: Sequence[_Line],
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


def _main_notes(frame: pd.DataFrame, ways: int) -> list[str]:
    """What the numbers mean and how they were chosen."""
    episodes = " or ".join(str(count) for count in sorted(frame["episodes"].unique()))
    selection = " or ".join(sorted(frame["selection"].unique()))
    return [
        f"Mean over seeds ± 95% interval over the {episodes} fixed episodes. One seed: "
        "1.96 · sd / √episodes; n seeds: √(Σ ci²) / n. Seeds are trained independently but share the "
        "episodes, so the interval leaves out the error that all seeds have in common.",
        "sd (seeds): sample standard deviation over seeds, and their number.",
        f"Chance is {100 / ways:.4g}%. Evaluated iterate: {selection}; never chosen on meta-test.",
        "A dash: the method was not evaluated under this rule.",
    ]
