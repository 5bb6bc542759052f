"""What methods of many iterations share: the learner, its optimiser, progress, kept iterates, resume points."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dfml.compute.optimisers import Adam
from dfml.compute.timeline import Timeline
from dfml.errors import DfmlError
from dfml.metalearning.inner_loop import Parameters, parameters_of
from dfml.methods.base import Context, Snapshot, cpu_state, snapshot_iterations


class LearnerLoop:
    """A meta-learner, its Adam, a source of random choices and the teacher passes spent; see :mod:`iterate`.

    A loop adds its ``iteration``, and to ``state`` what else moves.

    Args:
        context: the cell.
        network: the learner at first; its parameters are copied.
        learning_rate: of Adam.
        draws: source of every random choice (a CPU generator).
        stages: names of the timeline's stages.
        remedy: which keys to lower when a loss is not finite.
    """

    def __init__(
        self,
        context: Context,
        network: nn.Module,
        *,
        learning_rate: float,
        draws: torch.Generator,
        stages: tuple[str, ...],
        remedy: str,
    ) -> None:
        self.context, self.network, self.draws = context, network, draws
        self.parameters = parameters_of(network)
        self.optimiser = Adam([list(self.parameters.values())], [learning_rate])
        self.timeline = Timeline(context.job.device, dict.fromkeys(stages, 0.0))
        self.teacher_passes = 0
        self._remedy = remedy
        self._losses: list[Tensor] = []

    def watch(self, *losses: Tensor) -> None:
        """Remember losses that :meth:`check` is to look at."""
        self._losses += losses

    def check(self) -> None:
        """Wait for the device; raises DfmlError if a loss watched since the last call was not finite."""
        losses, self._losses = self._losses, []
        if losses and not torch.isfinite(torch.stack(losses)).all():
            raise DfmlError(f"{self.context.method}: a loss is not finite; lower {self._remedy}")

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "parameters": {name: p.detach() for name, p in self.parameters.items()},
            "optimiser": self.optimiser.state(),
            "draws": self.draws.get_state(),
            "teacher_passes": self.teacher_passes,
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        self.optimiser.load_state(state["optimiser"])
        self.draws.set_state(state["draws"])
        self.teacher_passes = state["teacher_passes"]


class Iterated(Protocol):
    """What is trained: a meta-learner and all that moves with it."""

    parameters: Parameters
    timeline: Timeline

    def iteration(self, iteration: int) -> dict[str, Tensor]:
        """Do one iteration, all of it inside stages of the timeline; returns quantities on the device."""

    def check(self) -> None:
        """Wait for the device and raise DfmlError if something since the last call was not finite."""

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs but the timeline."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""


def iterate(
    context: Context, trained: Iterated, *, iterations: int, snapshots: int, warmup: int = 0, with_start: bool = True
) -> tuple[list[Snapshot], list[dict[str, float]]]:
    """Run all iterations, or those that an interruption left; the host waits for a GPU at resume points only.

    Args:
        context: the cell.
        trained: what is trained.
        iterations: how many, after the warm-up.
        snapshots: iterates kept; counted in iterations after the warm-up.
        warmup: iterations before, in which the learner does not move.
        with_start: keep the learner as it was at first, too.

    Returns:
        The kept iterates and one row of the history per iteration.
    """
    total = warmup + iterations
    keep = {warmup + i for i in snapshot_iterations(iterations, snapshots)}
    kept = [Snapshot(0, 0.0, [cpu_state(trained.parameters)])] if with_start else []
    history: list[dict[str, float]] = []
    state = context.checkpoint.load()
    if state is not None:
        trained.load_state(state["trained"])
        trained.timeline.seconds.update(state["stages"])
        kept = [Snapshot(**s) for s in state["snapshots"]]
        history = state["history"]
    fresh: list[dict[str, Any]] = []
    with context.job.progress.task(context.method, total=total, done=len(history)) as bar:
        for iteration in range(len(history), total):
            quantities = trained.iteration(iteration)
            trained.timeline.mark()
            fresh.append({"iteration": iteration + 1, **quantities})
            bar.advance(**quantities)
            due, wanted = (iteration + 1) % context.job.runtime.checkpoint_every == 0, iteration + 1 in keep
            if wanted or due or iteration + 1 == total:
                trained.check()
                history += _settled(trained.timeline, fresh)
                fresh = []
            if wanted:
                place = Snapshot(iteration + 1 - warmup, trained.timeline.total, [cpu_state(trained.parameters)])
                kept.append(place)
            if due:
                context.checkpoint.save(
                    {
                        "trained": trained.state(),
                        "stages": trained.timeline.seconds,
                        "snapshots": [vars(s) for s in kept],
                        "history": history,
                    }
                )
    return kept, history


def _settled(timeline: Timeline, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Rows of the history as plain numbers."""
    settled = []
    for row, seconds in zip(rows, timeline.settle(), strict=True):
        iteration = row.pop("iteration")
        settled.append({"iteration": iteration, "seconds": seconds, **{k: float(v) for k, v in row.items()}})
    return settled
