"""The speed table: seconds per recovered task, arm against arm."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

import pandas as pd

from dfml.artefacts.inversion import SpeedArm, SpeedRecord
from dfml.evaluation.intervals import student95
from dfml.results.tables.table import Column, Table, TableCell, TableSection, in_order_of, number


def speed_table(speeds: Sequence[SpeedRecord], *, pools: Sequence[str]) -> Table:
    """Seconds per recovered task of every arm, and how many times those of the first arm.

    ``pools`` gives the order of the pools.
    """
    speeds = in_order_of(pools, speeds)
    columns = [
        "pool",
        "arm",
        "steps",
        "tasks",
        "seconds_median",
        "seconds_mean",
        "seconds_t95",
        "times_first",
    ]
    columns += ["teacher_ce", "teacher_accuracy", "device"]
    breaks: set[int] = set()
    data: list[dict] = []
    for speed in speeds:
        breaks.add(len(data))
        data += [_row(speed, arm, speed.arms[0]) for arm in speed.arms]
    titles = [
        Column("pool", numeric=False),
        Column("inversion", numeric=False),
        Column("steps"),
        Column("tasks"),
    ]
    titles += [Column(title, group="seconds per task") for title in ("median", "mean ± 95%")]
    first = speeds[0].arms[0].name if speeds else "the first arm"
    titles += [Column(f"times {first}"), Column("teacher CE"), Column("teacher accuracy (%)")]
    cells = [
        [
            TableCell(row["pool"]),
            TableCell(row["arm"]),
            TableCell(str(row["steps"])),
            TableCell(str(row["tasks"])),
            TableCell(f"{row['seconds_median']:.3g}"),
            TableCell(f"{row['seconds_mean']:.3g} ± {number(row['seconds_t95'], '{:.2g}').text}"),
            TableCell(f"{row['times_first']:.1f}"),
            TableCell(f"{row['teacher_ce']:.2f}"),
            TableCell(f"{row['teacher_accuracy']:.1f}"),
        ]
        for row in data
    ]
    devices = " and ".join(sorted({speed.device for speed in speeds}))
    return Table(
        stem="speed",
        caption="Seconds to recover the images of one task",
        data=pd.DataFrame(data, columns=columns),
        sections=[TableSection("", titles, cells, frozenset(breaks))],
        notes=[
            f"All arms in one run on {devices}: same generator, learning rates, batch and teachers; Student's 95% "
            "interval over tasks, which one task has not; ratios of medians.",
            "FIVE begins with a generator of PyTorch's own law, meta-trained; the others begin each task with one of "
            "N(0, 0.02).",
            "Meta-training the generator is not part of these seconds; the inversion table has its cost.",
        ]
        if data
        else ["No speed comparison was run."],
    )


def _row(speed: SpeedRecord, arm: SpeedArm, first: SpeedArm) -> dict:
    """One arm's numbers."""
    return {
        "pool": speed.pool,
        "arm": arm.name,
        "steps": arm.steps,
        "tasks": len(arm.seconds_per_task),
        "seconds_median": median(arm.seconds_per_task),
        "seconds_mean": fmean(arm.seconds_per_task),
        "seconds_t95": student95(arm.seconds_per_task),
        "times_first": median(arm.seconds_per_task) / median(first.seconds_per_task),
        "teacher_ce": fmean(arm.teacher_ce),
        "teacher_accuracy": fmean(arm.teacher_accuracy),
        "device": speed.device,
    }
