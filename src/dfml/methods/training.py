"""What methods of many iterations share: the learner, its optimiser, progress, kept iterates, resume points."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dfml.compute.optimisers import Adam
from dfml.compute.timeline import Timeline
from dfml.errors import DfmlError
from dfml.jobs.loop import Loop
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.settings import OuterAdamSettings
from dfml.methods.base import Context, Snapshot, cpu_state, snapshot_iterations
from dfml.methods.finite import check_learner, remedy
from dfml.networks.classifier import Classifier

COUNTED = ("teacher_passes", "train_episodes")
"""What of a learner's cost a loop counts itself."""


class LearnerLoop(ABC):
    """A meta-learner, its Adam, a source of random choices, teacher passes and episodes spent; see :func:`iterate`.

    A loop adds its ``iteration``, and in ``MOVES`` what else moves.

    Args:
        context: the cell.
        network: the learner at first; its parameters are copied.
        outer: of Adam.
        generator: source of every random choice (a CPU generator).
        stages: names of the timeline's stages.
        remedy: which keys to lower when a loss or the learner is not finite; by default all rates of its section.
        further: parameters beside the learner's that Adam moves.
    """

    MOVES: tuple[str, ...] = ("parameters", "optimiser", "generator", *COUNTED)

    def __init__(
        self,
        context: Context,
        network: Classifier,
        *,
        outer: OuterAdamSettings,
        generator: torch.Generator,
        stages: tuple[str, ...],
        remedy: str | None = None,
        further: Sequence[Tensor] = (),
    ) -> None:
        self.context, self.network, self.generator = context, network, generator
        self.parameters = parameters_of(network)
        trained = [[*self.parameters.values(), *further]]
        self.optimiser = Adam(trained, [outer.learning_rate], averaging=outer.averaging)
        self.timeline = Timeline(context.job.device, stages)
        self.teacher_passes = self.train_episodes = 0
        self.remedy = remedy
        self._losses: list[Tensor] = []

    @abstractmethod
    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """Do one iteration, all of it inside stages of the timeline; returns quantities on the device."""

    def watch(self, *losses: Tensor) -> None:
        """Remember losses that :meth:`check` is to look at."""
        self._losses += losses

    def check(self) -> None:
        """Wait for the device; raises DfmlError if a loss watched since the last call was not finite."""
        losses, self._losses = self._losses, []
        if losses and not torch.isfinite(torch.stack(losses)).all():
            raise DfmlError(f"{self.context.method}: a loss is not finite; {remedy(self.context, self.remedy)}")


class _Kept:
    """The iterates that a learner has kept, as plain values."""

    GROWS = ("iterates",)

    def __init__(self, trained: LearnerLoop, warmup: int) -> None:
        self.iterates: list[dict[str, Any]] = []
        self._trained, self._warmup = trained, warmup

    def add(self, done: int, seconds: float) -> None:
        """Keep the learner as it is, or the average of what it has been."""
        states = [cpu_state(self._trained.optimiser.averaged(self._trained.parameters))]
        self.iterates.append({"iteration": done - self._warmup, "seconds": seconds, "states": states})


def iterate(
    context: Context, trained: LearnerLoop, *, iterations: int, snapshots: int, warmup: int = 0, with_start: bool = True
) -> tuple[list[Snapshot], list[dict[str, float]]]:
    """Run all iterations, or those that an interruption left; the host waits for a GPU at resume points only.

    Args:
        context: the cell.
        trained: what is trained; its class says what of it moves (:mod:`dfml.compute.state`).
        iterations: how many, after the warm-up.
        snapshots: iterates kept; counted in iterations after the warm-up.
        warmup: iterations before, in which the learner does not move.
        with_start: keep the learner as it was at first, too.

    Returns:
        The kept iterates and one row of the history per iteration.
    """
    kept, total = _Kept(trained, warmup), warmup + iterations
    if with_start:
        kept.add(warmup, 0.0)

    def check() -> None:
        trained.check()
        check_learner(context, [trained.parameters], loop.done - warmup, trained.remedy)

    loop = Loop(
        name=context.method,
        total=total,
        steps=lambda done: map(trained.iteration, range(done, total)),
        moves={"trained": trained, "kept": kept},
        clock=trained.timeline,
        checkpoint=context.checkpoint,
        job=context.job,
        check=check,
        keep={warmup + i for i in snapshot_iterations(iterations, snapshots)},
        kept=kept.add,
        shown=context.history.add,
    )
    history = loop.run()
    return [Snapshot(**one) for one in kept.iterates], history
