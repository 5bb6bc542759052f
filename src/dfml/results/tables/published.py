"""The table that sets published numbers beside measured ones, in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfml.artefacts.zoo import ZooManifest
from dfml.evaluation.intervals import student95
from dfml.results.grid import RUN, GridCell
from dfml.results.labels import method_label, rule_label
from dfml.results.published import Published, PublishedNumber
from dfml.results.summary import datasets_of, with_domain_means
from dfml.results.tables.layout import status_of
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection, number

_COLUMNS = ["pool", "datasets", "side", "ways", "shots", "published_method", "published", "printed"]
_COLUMNS += ["source", "protocol", "method", "rule", "batch_norm", "accuracy", "t95", "seeds", "gap", "status"]
BATCH_NORM = "transductive"
"""Published accuracies are with query images normalised by their own statistics."""


def published_table(
    frame: pd.DataFrame,
    grid: Sequence[GridCell],
    zoos: Sequence[ZooManifest],
    published: Published,
    *,
    ways: int,
    shots: Sequence[int],
) -> Table:
    """A row for each published number on the data sets of a pool and each of our methods that it is to be held against.

    ``frame`` has RESULT_COLUMNS and fits the grid; ``zoos`` give the side of the images. Published are accuracies of
    tasks of five classes on meta-test: any other ``ways``, and a frame of meta-val, have no rows.
    """
    sides = {zoo.dataset: zoo.side for zoo in zoos}
    comparable = ways == 5 and set(frame["split"]) == {"meta_test"}
    frame, footnotes = with_domain_means(frame), Footnotes()
    data: list[dict[str, object]] = []
    rows: list[list[TableCell]] = []
    breaks: set[int] = set()
    for pool in dict.fromkeys(cell.pool for cell in grid):
        *single, last = datasets_of(frame, pool) or [""]
        datasets = single or [last]
        for count in shots:
            for theirs in published.of(datasets, count) if comparable else []:
                breaks.add(len(rows))
                source = footnotes.mark(f"{published.sources[theirs.source]}. {published.protocols[theirs.protocol]}")
                for method in theirs.ours:
                    cells = [cell for cell in grid if (cell.pool, cell.method) == (pool, method) and cell.wants(count)]
                    measured = _measured(frame, pool, last, count, method, theirs)
                    status = status_of(cells[0], measured)[0] if cells else "not run"
                    record = {
                        "pool": pool,
                        "datasets": ", ".join(datasets),
                        "side": ", ".join(str(sides[name]) for name in datasets if name in sides),
                        "ways": ways,
                        "shots": count,
                        "published_method": theirs.method,
                        "published": theirs.accuracy,
                        "printed": theirs.printed,
                        "source": published.sources[theirs.source],
                        "protocol": published.protocols[theirs.protocol],
                        "method": method,
                        "rule": theirs.rule,
                        "batch_norm": BATCH_NORM,
                        **_summary(measured["accuracy"], theirs),
                        "status": status,
                    }
                    first = len(rows) in breaks
                    data.append(record)
                    rows.append(_cells(record, theirs, source if first else "", first=first, status=status))
    lead = [Column("pool", numeric=False), Column("data sets", numeric=False), Column("side"), Column("shots")]
    theirs_columns = [Column("method", "published", numeric=False), Column("accuracy", "published")]
    ours_columns = [Column("method", "ours", numeric=False), Column("rule", "ours", numeric=False)]
    ours_columns += [Column("accuracy (seeds)", "ours"), Column("minus published", "ours")]
    columns = [*lead, *theirs_columns, *ours_columns]
    return Table(
        stem="published",
        caption="Published numbers, and ours on the same data sets (%)",
        data=pd.DataFrame(data, columns=_COLUMNS).astype({"seeds": "Int64"}),
        sections=[TableSection("", columns, rows, frozenset(breaks))],
        notes=_notes(rows),
        footnotes=footnotes,
    )


def _measured(
    frame: pd.DataFrame, pool: str, dataset: str, shots: int, method: str, theirs: PublishedNumber
) -> pd.DataFrame:
    """The rows, one a seed, that stand beside a published number."""
    place = {"pool": pool, "dataset": dataset, "shots": shots, "method": method}
    place |= {"rule": theirs.rule, "batch_norm": BATCH_NORM}
    return frame[(frame[list(place)] == pd.Series(place)).all(axis=1)]


def _summary(accuracies: pd.Series, theirs: PublishedNumber) -> dict[str, object]:
    """Mean over seeds, its interval, how many, and what it is above the published number."""
    if accuracies.empty:
        return {"accuracy": None, "t95": None, "seeds": 0, "gap": None}
    mean = accuracies.mean()
    return {"accuracy": mean, "t95": student95(accuracies), "seeds": len(accuracies), "gap": mean - theirs.accuracy}


def _cells(
    record: dict[str, object], theirs: PublishedNumber, mark: str, *, first: bool, status: str
) -> list[TableCell]:
    """One printed row; what is published is printed once for all methods of ours beside it."""
    lead = [str(record[key]) if first else "" for key in ("pool", "datasets", "side", "shots")]
    published = [TableCell(theirs.method, mark=mark), TableCell(theirs.printed)] if first else [TableCell("")] * 2
    ours = [TableCell(method_label(str(record["method"]))), TableCell(rule_label(theirs.rule))]
    if status != RUN:
        return [*map(TableCell, lead), *published, *ours, TableCell(status), TableCell("–")]
    spread = "n/a" if record["t95"] is None else f"{record['t95']:.2f}"
    accuracy = TableCell(f"{record['accuracy']:.2f} ± {spread} ({record['seeds']})")
    return [*map(TableCell, lead), *published, *ours, accuracy, number(record["gap"], "{:+.2f}")]  # type: ignore[arg-type]


def _notes(rows: Sequence[object]) -> list[str]:
    """How to read it; without rows, why there are none."""
    if not rows:
        return [
            "Nobody has published 5-way meta-test accuracies, that are known to us, on exactly the data sets of one of "
            "these pools at its shots under their names here (resources/published.yaml)."
        ]
    return [
        "Published: quoted from the source in the footnote, not measured here. It differs from ours in zoo, budget, "
        "episodes and what chose the iterate: the difference is no test of either.",
        "Ours: meta-test, fixed episodes, query images normalised by their own statistics, nothing chosen on "
        "meta-test; mean over seeds ± Student's 95% interval over seeds, and in brackets the number of seeds. One "
        "seed has no interval (n/a).",
        "Side: of our images, in pixels. Published are 32 for CIFAR-FS and 84 for miniImageNet and CUB.",
        "Several data sets: the mean over them.",
    ]
