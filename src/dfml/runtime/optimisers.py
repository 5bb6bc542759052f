"""Adam and SGD on lists of tensors.

The same updates as ``torch.optim`` (a test compares them). The first step of an optimiser there imports the compiler,
which costs a job more than four seconds of CPU time; a workflow of many short jobs would spend minutes on it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Optimiser:
    """Parameters with one learning rate per group.

    Args:
        groups: lists of tensors that require gradients; one list or several.
        rates: the learning rate of each group.
    """

    def __init__(self, groups: Sequence[Sequence[Tensor]], rates: Sequence[float]) -> None:
        self.groups = [list(group) for group in groups]
        self.rates = list(rates)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group:
                parameter.grad = None

    def set_rate(self, rate: float) -> None:
        """Change the learning rate of every group."""
        self.rates = [rate] * len(self.groups)

    def step(self) -> None:
        """Move the parameters in place along their gradients; one without a gradient stays."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, apart from the parameters."""
        raise NotImplementedError

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        raise NotImplementedError


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015) with L2 weight decay, by torch's fused kernel."""

    def __init__(
        self,
        groups: Sequence[Sequence[Tensor]],
        rates: Sequence[float],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(groups, rates)
        self.betas, self.weight_decay = betas, weight_decay
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Start afresh: moments and step counts of zero."""
        self._first = [[torch.zeros_like(p) for p in group] for group in self.groups]
        self._second = [[torch.zeros_like(p) for p in group] for group in self.groups]
        self._steps = [[torch.zeros((), dtype=torch.float32, device=p.device) for p in group] for group in self.groups]

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        for index, group in enumerate(self.groups):
            moving = [i for i, p in enumerate(group) if p.grad is not None]
            steps = [self._steps[index][i] for i in moving]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                [group[i] for i in moving],
                [_laid_out_as(group[i]) for i in moving],
                [self._first[index][i] for i in moving],
                [self._second[index][i] for i in moving],
                [],
                steps,
                lr=self.rates[index],
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=self.weight_decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, Any]:
        """Moments, step counts and rates."""
        return {"first": self._first, "second": self._second, "steps": self._steps, "rates": self.rates}

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.rates = list(state["rates"])
        for own, kept in ((self._first, "first"), (self._second, "second"), (self._steps, "steps")):
            for mine, theirs in zip(own, state[kept], strict=True):
                for tensor, value in zip(mine, theirs, strict=True):
                    tensor.copy_(value)


def _laid_out_as(parameter: Tensor) -> Tensor:
    """The gradient in its parameter's memory format: the fused kernel walks through memory and does not look at it."""
    gradient = parameter.grad
    assert gradient is not None
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class SGD(Optimiser):
    """Stochastic gradient descent with momentum and L2 weight decay."""

    def __init__(
        self,
        groups: Sequence[Sequence[Tensor]],
        rates: Sequence[float],
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(groups, rates)
        self.momentum, self.weight_decay = momentum, weight_decay
        self._velocity: list[list[Tensor]] = []

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        if self.momentum and not self._velocity:
            self._velocity = [[torch.zeros_like(p) for p in group] for group in self.groups]
        for index, (group, rate) in enumerate(zip(self.groups, self.rates, strict=True)):
            moving = [i for i, p in enumerate(group) if p.grad is not None]
            parameters = [group[i] for i in moving]
            updates = [group[i].grad for i in moving]
            if self.weight_decay:
                updates = list(torch._foreach_add(updates, parameters, alpha=self.weight_decay))
            if self.momentum:
                velocity = [self._velocity[index][i] for i in moving]
                torch._foreach_mul_(velocity, self.momentum)
                torch._foreach_add_(velocity, updates)
                updates = velocity
            torch._foreach_add_(parameters, updates, alpha=-rate)

    def state(self) -> dict[str, Any]:
        """Velocities and rates."""
        return {"velocity": self._velocity, "rates": self.rates}

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.rates = list(state["rates"])
        self._velocity = [[v.clone() for v in group] for group in state["velocity"]]
