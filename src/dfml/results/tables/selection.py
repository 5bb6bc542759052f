"""The table of what choosing the best moment of a curve adds to an accuracy (F01)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dfml.evaluation.intervals import student95
from dfml.results.labels import BATCH_NORMS, RULES, method_label, rule_label
from dfml.results.tables.table import Column, Table, TableCell, TableSection

_KEY = ["pool", "shots", "method", "rule", "batch_norm"]
_COLUMNS = [*_KEY, "seeds", "points", "last", "best", "gain", "gain_t95"]


def selection_table(curves: pd.DataFrame, *, pools: Sequence[str], methods: Sequence[str]) -> Table:
    """Meta-val accuracy of the last point of each curve, of its best one, and the difference; means over seeds.

    ``curves`` comes from ``curve_frame`` (may be empty). The published number is the best of 48 measurements on
    meta-test classes (F01). Here it is seen on the classes that may choose: nothing is chosen on meta-test.
    """
    data = [_summary(key, rows) for key, rows in curves.groupby(_KEY, sort=False)]
    orders = (list(pools), None, list(methods), list(RULES), list(BATCH_NORMS))
    data = [row for row in data if row["points"] > 1]
    data.sort(key=lambda row: [_place(row[name], order) for name, order in zip(_KEY, orders, strict=True)])
    columns = [Column("pool", numeric=False), Column("shots"), Column("method", numeric=False)]
    columns += [Column("rule", numeric=False), Column("batch norm", numeric=False), Column("points")]
    columns += [Column("last"), Column("best"), Column("best - last (seeds)")]
    starts = [row for row, _ in enumerate(data) if not row or data[row]["pool"] != data[row - 1]["pool"]]
    return Table(
        stem="selection",
        caption="What the choice of the best moment adds (meta-val accuracy, %)",
        data=pd.DataFrame(data, columns=_COLUMNS),
        sections=[TableSection("", columns, [_cells(row) for row in data], frozenset(starts))],
        notes=[
            "Last and best of the points of each seed's learning curve; mean over seeds, and of their difference ± "
            "Student's 95% interval over seeds. The published number is the best of 48 measurements on meta-test "
            "classes (F01): this is what such a choice adds where it is allowed, on meta-val classes. No table "
            "has an accuracy that was chosen on meta-test.",
            "All points of a curve are measured on the same episodes, which varies less than new ones each time, as "
            "published.",
        ]
        if data
        else ["No learning curve of two points was recorded in this experiment."],
    )


def _summary(key: tuple[Any, ...], rows: pd.DataFrame) -> dict[str, Any]:
    seeds = [own.sort_values("iteration")["accuracy"] for _, own in rows.groupby("seed")]
    last, best = pd.Series([own.iloc[-1] for own in seeds]), pd.Series([own.max() for own in seeds])
    return {
        **dict(zip(_KEY, key, strict=True)),
        "seeds": len(seeds),
        "points": min(len(own) for own in seeds),
        "last": last.mean(),
        "best": best.mean(),
        "gain": (best - last).mean(),
        "gain_t95": student95(best - last),
    }


def _place(name: Any, order: Sequence[str] | None) -> int:
    return name if order is None else order.index(name) if name in order else len(order)


def _cells(row: dict[str, Any]) -> list[TableCell]:
    over_seeds = "n/a" if row["gain_t95"] is None else f"{row['gain_t95']:.2f}"
    return [
        TableCell(row["pool"]),
        TableCell(str(row["shots"])),
        TableCell(method_label(row["method"])),
        TableCell(rule_label(row["rule"])),
        TableCell(row["batch_norm"]),
        TableCell(str(row["points"])),
        TableCell(f"{row['last']:.2f}"),
        TableCell(f"{row['best']:.2f}"),
        TableCell(f"{row['gain']:.2f} ± {over_seeds} ({row['seeds']})"),
    ]
