"""The loop of a long job: one step after another, with a bar, a history, seconds and resume points."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

if TYPE_CHECKING:
    from dfml.jobs.checkpoint import Checkpoint
    from dfml.jobs.job import Job

log = logging.getLogger(__name__)

# Seconds of work that a kill may cost, beside the step that it meets.
MOST_LOST = 60.0

Quantities = Mapping[str, SupportsFloat]
"""What a step names, such as its loss; on a GPU still on its way."""

Row = dict[str, float]
"""A step of the history: ``iteration``, counted from 1, ``seconds`` since the first run began, and its quantities."""


class Clock(Protocol):
    """Seconds over all interruptions: a :class:`dfml.compute.timeline.Timeline` or the wall clock there."""

    def mark(self) -> None:
        """Remember this moment."""

    def settle(self) -> list[float]:
        """The seconds at each moment marked since the last call."""

    @property
    def total(self) -> float:
        """The seconds settled so far."""


@dataclass
class Aside:
    """What steps leave that is large and never changes: each goes into a file of its own, once.

    Attributes:
        what: What one of them is, for messages.
        files: One for each step; removed after the loop's ``finish``, and without one by whoever writes the result.
        held: What the steps done have left; each step appends one.
    """

    what: str
    files: Sequence[Checkpoint]
    held: list[Any] = field(default_factory=list)
    _saved: int = field(default=0, init=False)

    def save(self) -> None:
        """Write those that are not written yet."""
        from dfml.compute.state import collect

        for number in range(self._saved, len(self.held)):
            self.files[number].save({"item": collect(self.held[number])})
        self._saved = len(self.held)

    def load(self, count: int) -> bool:
        """Read those of the first ``count`` steps; False if one has gone."""
        found = [file.load() for file in self.files[:count]]
        items = [one["item"] for one in found if one is not None]
        if len(items) < count:
            return False
        self.held[:], self._saved = items, count
        return True

    def remove(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.remove()


def _nothing() -> None:
    """No check."""


def _not_shown(rows: Sequence[Row]) -> None:
    """Nobody looks at the history before the end."""


@dataclass(kw_only=True)
class Loop:
    """Runs all steps, or those that an interruption left; killed at any moment, it goes on to the same bits.

    The host waits for a GPU only where something is kept: at resume points, in steps of ``keep`` and at the end.

    Attributes:
        name: What the bar says.
        total: How many steps there are.
        steps: Given how many are done, does the others one by one and yields the quantities of each.
        moves: What of it moves, see :mod:`dfml.compute.state`; it is all that a step may depend on but its number.
        clock: Its seconds.
        checkpoint: The resume file.
        job: Where progress goes, and how many steps lie between resume points.
        every: Steps between resume points, if not as the job says; slow steps have one every minute.
        check: Called before anything is kept; raises DfmlError if something is not finite.
        sparse: Only the steps at resume points leave a row of the history, for steps too quick for one each.
        keep_end: The end is a resume point as well, since what follows takes long.
        keep: Numbers of steps done at which ``kept`` is called.
        kept: Takes that number and the seconds; what it keeps is among what moves.
        aside: What is kept beside the resume file, if something is.
        shown: Given the history so far at resume points, at steps of ``keep`` and when the loop goes on.
        finish: What follows the last step and is not to be done twice; its quantities are the last row.
        done: How many steps are done.
        history: A row for each.
    """

    name: str
    total: int
    steps: Callable[[int], Iterable[Quantities]]
    moves: Any
    clock: Clock
    checkpoint: Checkpoint
    job: Job
    every: int | None = None
    check: Callable[[], None] = _nothing
    sparse: bool = False
    keep_end: bool = False
    keep: Collection[int] = ()
    kept: Callable[[int, float], None] | None = None
    aside: Aside | None = None
    shown: Callable[[Sequence[Row]], object] = _not_shown
    finish: Callable[[], Quantities] | None = None
    done: int = field(default=0, init=False)
    history: list[Row] = field(default_factory=list, init=False)

    def run(self) -> list[Row]:
        """All that is left; returns the history.

        Raises:
            DfmlError: as ``check`` and the steps do.
            ValueError: the state in the resume file does not fit what moves.
        """
        at_the_end = self._resumed_at_the_end()
        self.shown(self.history)
        if not at_the_end:
            self._take_steps()
            if self.finish is not None:
                named = self.finish()
                if not self.sparse:
                    self.clock.mark()
                self._settle([(self.done, named)])
                self._save(finished=True)
        if self.finish is not None and self.aside is not None:
            self.aside.remove()
        return self.history

    def _take_steps(self) -> None:
        every = self.job.runtime.checkpoint_every if self.every is None else self.every
        fresh: list[tuple[int, Quantities]] = []
        saved = time.monotonic()
        with self.job.progress.task(self.name, total=self.total, done=self.done) as bar:
            for quantities in self.steps(self.done):
                self.done += 1
                end = self.done == self.total
                due, wanted = self.done % every == 0, self.done in self.keep
                # Rows of sparse steps are those of the resume points, which no clock may choose.
                due |= not self.sparse and time.monotonic() - saved > MOST_LOST
                if not self.sparse:
                    self.clock.mark()
                if not self.sparse or due or end:
                    fresh.append((self.done, quantities))
                bar.advance(**quantities)
                if due or wanted or end:
                    self._settle(fresh)
                    fresh = []
                if wanted and self.kept is not None:
                    self.kept(self.done, self.clock.total)
                if due or (end and self.keep_end):
                    self._save()
                    saved = time.monotonic()
                if due or wanted:
                    self.shown(self.history)

    def _settle(self, fresh: list[tuple[int, Quantities]]) -> None:
        """Add rows of what is known of the last steps; waits for the device."""
        self.check()
        read = [(number, {name: float(value) for name, value in named.items()}) for number, named in fresh]
        moments = self.clock.settle()
        if self.sparse:
            moments = [self.clock.total] * len(read)  # the device has come as far only now
        for (number, named), seconds in zip(read, moments, strict=True):
            self.history.append({"iteration": number, "seconds": seconds, **named})

    def _save(self, *, finished: bool = False) -> None:
        # It brings torch, which rules that ask this room for a path or a bar do without.
        from dfml.compute.state import collect

        if self.aside is not None and not finished:
            self.aside.save()
        self.checkpoint.save(
            {
                "done": self.done,
                "finished": finished,
                "moves": collect(self.moves),
                "clock": collect(self.clock),
                "history": self.history,
            }
        )

    def _resumed_at_the_end(self) -> bool:
        """Go on from the resume file, if there is one; whether nothing at all is left to do."""
        from dfml.compute.state import restore

        state = self.checkpoint.load()
        if state is None:
            return False
        if self.aside is not None and not state["finished"] and not self.aside.load(state["done"]):
            log.warning("%s is missing beside %s, starting afresh", self.aside.what, self.checkpoint.path)
            return False
        restore(self.moves, state["moves"])
        restore(self.clock, state["clock"])
        self.done, self.history = state["done"], state["history"]
        return bool(state["finished"])
