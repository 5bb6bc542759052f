"""The cost table: what each method takes to learn and to answer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfml.evaluation.intervals import seed_spread
from dfml.results.grid import NOT_APPLICABLE, NOT_RUN, RUN, STATUS_IN_CSV, GridCell
from dfml.results.labels import method_label
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection, number

_COLUMNS = ["pool", "ways", "shots", "method", "seeds", "train_seconds", "train_seconds_sd"]
_COLUMNS += [
    "train_episodes",
    "teacher_passes",
    "bank_seconds",
    "bank_passes",
    "inference_macs",
    "peak_memory_mb",
    "device",
    "status",
    "note",
]


def cost_table(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Table:
    """Training seconds, episodes, teacher passes, multiply-adds per query image and peak memory of every method.

    ``frame`` has RESULT_COLUMNS and fits the grid. Means over seeds; the memory is the greatest of them.
    """
    footnotes = Footnotes()
    # A cell has a row per data set, rule and batch norm, and each repeats the cell's cost.
    cells = frame.drop_duplicates(["pool", "method", "ways", "shots", "seed"])
    pools = list(dict.fromkeys(cell.pool for cell in grid))
    breaks: set[int] = set()
    data: list[dict[str, object]] = []
    rows: list[list[TableCell]] = []
    for count in shots:
        for pool in pools:
            breaks.add(len(rows))
            for cell in (cell for cell in grid if cell.pool == pool and cell.wants(count)):
                chosen = (cells["pool"] == pool) & (cells["method"] == cell.method) & (cells["shots"] == count)
                data.append(_summary(cells[chosen], cell, ways, count))
                shown = [
                    TableCell(pool if len(rows) in breaks else ""),
                    TableCell(str(count)),
                    TableCell(method_label(cell.method)),
                ]
                rows.append(shown + _printed(data[-1], footnotes))
    devices = " or ".join(sorted(frame["device"].unique()))
    return Table(
        stem="cost",
        caption="What each method costs",
        data=pd.DataFrame(data, columns=_COLUMNS).astype({"seeds": "Int64"}),
        sections=[TableSection("", _columns(), rows, frozenset(breaks))],
        notes=[
            f"Means over seeds on {devices}; peak memory is the greatest over seeds.",
            "Training: the method's own learning. Its bank: the inversion whose images it started from, which several "
            "methods and numbers of shots may share; a dash where it recovers its own or uses none. Zoos are left out.",
            "Episodes: those that the learner was trained on; a dash where a method trains on none.",
            "A teacher pass is one batch through one model of the pool.",
            "Multiply-adds: what answering one query image takes, through everything the method uses for it.",
        ],
        footnotes=footnotes,
    )


def _columns() -> list[Column]:
    return [
        Column("pool", numeric=False),
        Column("shots"),
        Column("method", numeric=False),
        Column("mean", group="training seconds"),
        Column("sd (seeds)", group="training seconds"),
        Column("episodes"),
        Column("teacher passes"),
        Column("seconds", group="its bank"),
        Column("teacher passes", group="its bank"),
        Column("multiply-adds (millions)"),
        Column("peak memory (MB)"),
    ]


def _summary(rows: pd.DataFrame, cell: GridCell, ways: int, shots: int) -> dict[str, object]:
    """Numbers of one method over its seeds; None where nothing was recorded."""
    place = {"pool": cell.pool, "ways": ways, "shots": shots, "method": cell.method}
    if rows.empty:
        status = STATUS_IN_CSV[NOT_APPLICABLE if cell.reason is not None else NOT_RUN]
        return {**dict.fromkeys(_COLUMNS), **place, "status": status, "note": cell.reason or ""}
    return {
        **place,
        "seeds": len(rows),
        "train_seconds": float(rows["train_seconds"].mean()),
        "train_seconds_sd": seed_spread(rows["train_seconds"]),
        "train_episodes": _known(rows["train_episodes"].mean()),
        "teacher_passes": float(rows["teacher_passes"].mean()),
        "bank_seconds": float(rows["bank_seconds"].mean()),
        "bank_passes": float(rows["bank_passes"].mean()),
        "inference_macs": _known(rows["inference_macs"].mean()),
        "peak_memory_mb": _known(rows["peak_memory_mb"].max()),
        "device": " or ".join(sorted(rows["device"].unique())),
        "status": STATUS_IN_CSV[RUN],
        "note": "",
    }


def _printed(row: dict, footnotes: Footnotes) -> list[TableCell]:
    """The cells after the method's name."""
    if row["status"] == STATUS_IN_CSV[NOT_APPLICABLE]:
        reason = footnotes.mark(f"n/a: {row['note']}")
        return [TableCell(NOT_APPLICABLE, mark=reason)] + [TableCell("–")] * 7
    if row["status"] == STATUS_IN_CSV[NOT_RUN]:
        return [TableCell(NOT_RUN)] + [TableCell("–")] * 7
    macs = row["inference_macs"]
    spread = number(row["train_seconds_sd"], "{:.1f}").text
    return [
        TableCell(f"{row['train_seconds']:.1f}"),
        TableCell(f"{spread} ({row['seeds']})"),
        number(row["train_episodes"], "{:.0f}"),
        TableCell(f"{row['teacher_passes']:.0f}"),
        *_bank(row),
        number(None if macs is None else macs / 1e6, "{:.2f}"),
        number(row["peak_memory_mb"], "{:.0f}"),
    ]


def _bank(row: dict) -> list[TableCell]:
    if not row["bank_passes"]:
        return [TableCell("–")] * 2
    return [TableCell(f"{row['bank_seconds']:.1f}"), TableCell(f"{row['bank_passes']:.0f}")]


def _known(value: float) -> float | None:
    """None for the NaN that pandas makes of a quantity nobody recorded."""
    return None if pd.isna(value) else float(value)
