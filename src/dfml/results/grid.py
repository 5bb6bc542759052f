"""The grid: which (pool, method) pairs an experiment asks for, and which of them it cannot run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dfml.errors import DfmlError

RUN, NOT_APPLICABLE, NOT_RUN = "run", "n/a", "not run"

STATUS_IN_CSV = {RUN: "run", NOT_APPLICABLE: "not applicable", NOT_RUN: "not run"}
"""Statuses as written into CSV files, where readers such as pandas take n/a for a missing value."""


@dataclass(frozen=True)
class GridCell:
    """One (pool, method) pair.

    ``reason`` says why it cannot be run (None: it is), ``shots`` at which of the experiment's numbers of shots it is
    asked for (None: every one).
    """

    pool: str
    method: str
    reason: str | None = None
    shots: Sequence[int] | None = None

    def wants(self, shots: int) -> bool:
        """Whether the pair belongs into a table of ``shots``-shot results."""
        return self.shots is None or shots in self.shots


def read_grid(rows: Iterable[Sequence[Any]]) -> list[GridCell]:
    """The grid from plain rows ``(pool, method, reason, shots)``, in the order given; the last two may be left out.

    Raises DfmlError for a pair that is listed twice.
    """
    grid = [GridCell(*row) for row in rows]
    pairs = [(cell.pool, cell.method) for cell in grid]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise DfmlError(f"the grid lists {' / '.join(pair)} twice; list it once.")
    return grid


def check_against_grid(
    frame: pd.DataFrame,
    grid: Sequence[GridCell],
    *,
    ways: int,
    shots: Sequence[int],
    source: str = "results.csv",
) -> None:
    """DfmlError, naming ``source``, when ``frame`` holds a number the grid has no place for.

    Dropping it silently would print a table that disagrees with ``results.csv``.
    """
    expected = {
        (cell.pool, cell.method, count) for cell in grid if cell.reason is None for count in shots if cell.wants(count)
    }
    for row in frame.drop_duplicates(["pool", "method", "ways", "shots"]).itertuples():
        if (row.pool, row.method, row.shots) not in expected or row.ways != ways:
            raise DfmlError(
                f"{source} holds {row.pool} / {row.method}, {row.ways}-way {row.shots}-shot, which this "
                "configuration does not run. Leave it out, or run the rule make_results again."
            )
