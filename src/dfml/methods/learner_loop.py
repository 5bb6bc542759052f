"""What loops that train a meta-learner hold, check and save alike."""

from typing import Any

import torch
from torch import Tensor, nn

from dfml.compute.optimisers import Adam
from dfml.compute.timeline import Timeline
from dfml.errors import DfmlError
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.base import Context


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
