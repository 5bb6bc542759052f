"""A learner's ``history.csv``: a row for each step of its training, written while that goes on."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path

from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write

Row = dict[str, float]
"""``iteration``, ``seconds`` and what the step named."""


def preparation(rows: Sequence[Row]) -> list[Row]:
    """Rows of steps before the first iteration of a learner: their iteration is 0."""
    return [{**row, "iteration": 0} for row in rows]


def later(rows: Sequence[Row], seconds: float) -> list[Row]:
    """Rows of what began after ``seconds`` of other work."""
    return [{**row, "seconds": row["seconds"] + seconds} for row in rows]


def read_history(path: Path) -> list[Row]:
    """The rows of a file; what a step did not name is left out.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except (ValueError, TypeError, csv.Error) as error:
        raise FileFormatError(f"{path} is no history of a learner ({error}); run the meta-learning again") from None


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Replace the file, atomically."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["iteration", "seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())


class GrowingHistory:
    """The history of a learner in training; at every moment the file holds the first rows of the final one.

    Args:
        path: The file; None writes nothing.
        rows: Of the learner that this one begins with.
        seconds: What that learner took.
        every: Seconds between writings.
    """

    def __init__(
        self, path: Path | None = None, rows: Sequence[Row] = (), seconds: float = 0.0, every: float = 2.0
    ) -> None:
        self._path, self._before, self._seconds, self._every = path, list(rows), seconds, every
        self._written: float | None = None

    def prepare(self, rows: Sequence[Row]) -> None:
        """Take all rows so far of a loop before the learner's own; called at resume points."""
        self._write(self._before + later(preparation(rows), self._seconds))

    def prepared(self, rows: Sequence[Row]) -> None:
        """Keep the rows of a loop that has ended, before those of the learner's own."""
        self._before += later(preparation(rows), self._seconds)
        self._seconds += rows[-1]["seconds"] if rows else 0.0

    def add(self, rows: Sequence[Row]) -> None:
        """Take all rows so far of the learner's own loop; called at resume points."""
        self._write(self._before + later(rows, self._seconds))

    def _write(self, rows: Sequence[Row]) -> None:
        now = time.monotonic()
        if self._path is None or not rows or (self._written is not None and now - self._written < self._every):
            return
        write_history(self._path, rows)
        self._written = now
