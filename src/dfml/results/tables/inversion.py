"""The inversion table: what the recovered images cost and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

import pandas as pd

from dfml.artefacts.inversion import InversionRecord
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection, in_order_of, number

_KEY = ["pool", "inverter", "seed"]
_POOR = 80.0
"""Percent of images that their own model recognises, below which the table says what to try."""

_NUMBERS = [
    ("seconds", "", "seconds", "{:.0f}"),
    ("generator_passes", "passes", "generator", "{:.0f}"),
    ("teacher_passes", "passes", "teacher", "{:.0f}"),
    ("images", "", "images", "{:.0f}"),
    ("teacher_ce", "", "teacher CE", "{:.2f}"),
    ("teacher_accuracy", "accuracy (%)", "teacher", "{:.1f}"),
    ("cross_model_accuracy", "accuracy (%)", "cross-model", "{:.1f}"),
    ("independent_accuracy", "accuracy (%)", "independent", "{:.1f}"),
    ("diversity", "", "diversity", "{:.3f}"),
]
"""Field of the summary, shared heading, own heading, format."""


def inversion_table(inversions: Sequence[InversionRecord], *, pools: Sequence[str]) -> Table:
    """Cost and quality of the recovered images per (pool, inverter, seed), and the mean over seeds.

    ``pools`` gives the order of the pools.
    """
    inversions = in_order_of(pools, inversions)
    footnotes = Footnotes()
    breaks: set[int] = set()
    data: list[dict] = []
    cells: list[list[TableCell]] = []
    for _, members in groupby(inversions, key=lambda item: (item.pool, item.inverter)):
        group = list(members)
        breaks.add(len(data))
        for item in group:
            data.append(item.model_dump(include={*_KEY, *(name for name, *_ in _NUMBERS)}))
            data[-1] |= {"seed": str(item.seed), "independent_reason": item.independent_reason or ""}
            cells.append(_cells(data[-1], footnotes))
        if len(group) > 1:
            data.append(_mean(data[-len(group) :]))
            cells.append(_cells(data[-1], footnotes))
    columns = [Column("pool", numeric=False), Column("inverter", numeric=False), Column("seed")]
    columns += [Column(title, group=group) for _, group, title, _ in _NUMBERS]
    names = [*_KEY, *(name for name, *_ in _NUMBERS), "independent_reason"]
    return Table(
        stem="inversion",
        caption="Recovered images: what they cost and how good they are",
        data=pd.DataFrame(data, columns=names),
        sections=[TableSection("", columns, cells, frozenset(breaks))],
        notes=[
            "Teacher: the model an image was recovered from. Cross-model: other zoo models that know the "
            "class. Independent: a model trained on the same classes that took no part in the inversion.",
            "Diversity: mean cosine distance between two recovered images of one class in the independent "
            "model's features.",
            "Passes are batches sent forward (and backward) through a network.",
            *_advice(inversions),
        ]
        + ([] if data else ["No image was recovered in this experiment."]),
        footnotes=footnotes,
    )


def _advice(inversions: Sequence[InversionRecord]) -> list[str]:
    poor = sorted({f"{item.inverter} ({item.pool})" for item in inversions if item.teacher_accuracy < _POOR})
    if not poor:
        return []
    return [
        f"Of {', '.join(poor)} the models themselves recognise less than {_POOR:.0f} % of the images on a seed: more "
        "steps help, and a smaller weight of the statistics term, which a deep network has a share of for each layer."
    ]


def _cells(row: dict, footnotes: Footnotes) -> list[TableCell]:
    """The printed row; a missing independent accuracy carries its reason."""
    numbers = []
    for name, _, _, form in _NUMBERS:
        cell = number(row[name], form)
        if name == "independent_accuracy" and row[name] is None and row["independent_reason"]:
            cell = TableCell("n/a", mark=footnotes.mark(f"n/a: {row['independent_reason']}"))
        numbers.append(cell)
    return [TableCell(row["pool"]), TableCell(row["inverter"]), TableCell(row["seed"]), *numbers]


def _mean(rows: Sequence[dict]) -> dict:
    """The mean over seeds; a quantity that some seed lacks has none."""
    mean = {**rows[0], "seed": "mean"}
    for name, *_ in _NUMBERS:
        values = [row[name] for row in rows]
        mean[name] = None if None in values else fmean(values)
    return mean
