"""How far a long loop has come: plain lines in a log, read again by who shows a run; a live bar on a terminal."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

if TYPE_CHECKING:
    from rich.console import Console


log = logging.getLogger(__name__)


class ProgressTask(Protocol):
    """One loop being counted."""

    def advance(self, steps: int = 1, /, **quantities: SupportsFloat) -> None:
        """Count `steps` more and name what matters, such as `ce=0.3, accuracy=41.2`.

        Quantities may be tensors: they are only read when they are shown, so that a loop on a
        GPU is not held up. A quantity not named keeps its last value.
        """


class Progress(Protocol):
    """Where loops report to."""

    def task(self, description: str, *, total: int, done: int = 0) -> AbstractContextManager[ProgressTask]:
        """Open a loop of `total` steps of which `done` were done by an earlier run."""


class NullProgress:
    """Reports nothing."""

    @contextmanager
    def task(self, description: str, *, total: int, done: int = 0) -> Iterator[ProgressTask]:
        """Open a loop, see `Progress.task`."""
        yield _NullTask()


class _NullTask:
    def advance(self, steps: int = 1, /, **quantities: SupportsFloat) -> None:
        pass


class LogProgress:
    """Writes plain lines to the log: at most one every `every` seconds, and the last."""

    def __init__(self, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock

    @contextmanager
    def task(self, description: str, *, total: int, done: int = 0) -> Iterator[ProgressTask]:
        """Open a loop, see `Progress.task`."""
        task = _LogTask(description, total, done, self._every, self._clock)
        try:
            yield task
        finally:
            task.close()


class _LogTask:
    def __init__(self, description: str, total: int, done: int, every: float, clock: Callable[[], float]) -> None:
        self._description = description
        self._total = total
        self._first = self._done = done
        self._every = every
        self._clock = clock
        self._start = self._shown = clock()
        self._quantities: dict[str, SupportsFloat] = {}

    def advance(self, steps: int = 1, /, **quantities: SupportsFloat) -> None:
        self._done += steps
        self._quantities.update(quantities)
        now = self._clock()
        if now - self._shown >= self._every and self._done < self._total:
            self._shown = now
            pace = (now - self._start) / max(1, self._done - self._first)
            self._write(f"{duration(pace * (self._total - self._done))} left")

    def close(self) -> None:
        word = "done" if self._done >= self._total else "stopped"
        self._write(f"{word} after {duration(self._clock() - self._start)}")

    def _write(self, end: str) -> None:
        counted = f"{self._description} {self._done}/{self._total}"
        log.info("%s", ", ".join([counted, *_shown(self._quantities), end]))


_LINE = re.compile(r"(.+) (\d+)/(\d+)((?:, [^,]+)*), ([^,]+ left|(?:done|stopped) after [^,]+)")


@dataclass(frozen=True)
class Reached:
    """What a line of `LogProgress` says.

    Attributes:
        description: Of the loop.
        done: Steps done.
        total: Steps in all.
        quantities: What the loop named, such as ``ce 0.3333, replay accuracy 42``.
        end: ``36 s left``, ``done after 2 min 05 s`` or ``stopped after 1 s``.
    """

    description: str
    done: int
    total: int
    quantities: str
    end: str


def read_reached(line: str) -> Reached | None:
    """What a line of `LogProgress` says, None for any other line."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    description, done, total, quantities, end = found.groups()
    return Reached(description, int(done), int(total), quantities.removeprefix(", "), end)


class RichProgress:
    """Draws live bars on a terminal: description, count, quantities, time left."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[quantities]}", markup=False),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )
        self._open = 0

    @contextmanager
    def task(self, description: str, *, total: int, done: int = 0) -> Iterator[ProgressTask]:
        """Open a loop, see `Progress.task`."""
        if self._open == 0:
            self._bars.start()
        self._open += 1
        row = self._bars.add_task(description, total=total, completed=done, quantities="")
        task = _RichTask(self._bars, row)
        try:
            yield task
        finally:
            task.show()
            self._open -= 1
            if self._open == 0:
                # Leave the last state on the screen, and no rows to draw again next time.
                self._bars.stop()
                for old in self._bars.task_ids:
                    self._bars.remove_task(old)


class _RichTask:
    every = 0.5  # seconds between readings of the quantities

    def __init__(self, bars: Any, row: Any) -> None:
        self._bars = bars
        self._row = row
        self._read = time.monotonic()
        self._quantities: dict[str, SupportsFloat] = {}

    def advance(self, steps: int = 1, /, **quantities: SupportsFloat) -> None:
        self._quantities.update(quantities)
        self._bars.advance(self._row, steps)
        if time.monotonic() - self._read >= self.every:
            self.show()

    def show(self) -> None:
        self._read = time.monotonic()
        self._bars.update(self._row, quantities="  ".join(_shown(self._quantities)))


def make_progress() -> Progress:
    """Return a live bar if stderr is a terminal, else log lines."""
    return RichProgress() if sys.stderr.isatty() else LogProgress()


def duration(seconds: float) -> str:
    """Return a time for people: `12 s`, `3 min 05 s`, `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _shown(quantities: dict[str, SupportsFloat]) -> list[str]:
    return [f"{name.replace('_', ' ')} {float(value):.4g}" for name, value in quantities.items()]
