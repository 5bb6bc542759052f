"""How long the stages of a loop take, without holding up a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Timeline:
    """Seconds by stage, and moments in between, over all interruptions of a run.

    On a GPU the host runs ahead of the device, so moments are events on the device, read at :meth:`settle`.

    Args:
        device: whose time it is.
        stages: their names.
    """

    MOVES = ("seconds",)

    def __init__(self, device: torch.device, stages: Iterable[str]) -> None:
        self._device = device
        self.seconds = dict.fromkeys(stages, 0.0)
        self._open: list[tuple[str, Any, Any]] = []
        self._marks: list[int] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside towards the stage."""
        start = self._now()
        yield
        self._open.append((name, start, self._now()))

    def mark(self) -> None:
        """Remember this moment."""
        self._marks.append(len(self._open))

    def settle(self) -> list[float]:
        """Wait for the device; the seconds of all stages together at each moment marked since the last call."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        moments, done = [], 0
        for count in self._marks:
            self._add(done, count)
            moments.append(self.total)
            done = count
        self._add(done, len(self._open))
        self._open, self._marks = [], []
        return moments

    def _add(self, start: int, stop: int) -> None:
        for name, begun, ended in self._open[start:stop]:
            taken = begun.elapsed_time(ended) / 1000 if self._device.type == "cuda" else ended - begun
            self.seconds[name] += taken

    @property
    def total(self) -> float:
        """Settled seconds of all stages."""
        return sum(self.seconds.values())

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


class WallClock:
    """Seconds since it was made and of earlier runs, for a loop without stages; it never waits for a device."""

    MOVES = ("total",)

    def __init__(self) -> None:
        self.total = 0.0
        self._last = time.perf_counter()
        self._marks: list[float] = []

    def mark(self) -> None:
        """Remember this moment."""
        self._marks.append(time.perf_counter())

    def settle(self) -> list[float]:
        """The seconds at each moment marked since the last call; brings ``total`` up to now."""
        moments = [self.total + mark - self._last for mark in self._marks]
        now = time.perf_counter()
        self.total += now - self._last
        self._last, self._marks = now, []
        return moments
