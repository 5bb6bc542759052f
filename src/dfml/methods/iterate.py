"""The loop that every method of many iterations runs in: progress, kept iterates, resume points."""

from typing import Any, Protocol

from torch import Tensor

from dfml.compute.timeline import Timeline
from dfml.metalearning.inner_loop import Parameters
from dfml.methods.base import Context, Snapshot, cpu_state, snapshot_iterations


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
            due, wanted = (iteration + 1) % context.checkpoint_every == 0, iteration + 1 in keep
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
