"""Adam and SGD on lists of tensors.

The same updates as ``torch.optim`` (a test compares them). The first step of an optimiser there imports the compiler,
which costs a job more than four seconds of CPU time; a workflow of many short jobs would spend minutes on it. Here all
state, learning rates included, stays at one place on the device, so that steps can be recorded and replayed.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

K = TypeVar("K")


class Optimiser:
    """Parameters with one learning rate per group.

    Args:
        groups: lists of tensors that require gradients; one list or several.
        rates: the learning rate of each group.
    """

    MOVES: tuple[str, ...] = ("_rates",)  # the parameters are their owner's

    def __init__(self, groups: Sequence[Sequence[Tensor]], rates: Sequence[float]) -> None:
        self.groups = [list(group) for group in groups]
        device = self.groups[0][0].device
        # What the fused kernels take; a plain number would be frozen into a recording.
        kind = torch.float32 if device.type == "cuda" else torch.float64
        self._rates = [torch.tensor(rate, dtype=kind, device=device) for rate in rates]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each group."""
        return [float(rate) for rate in self._rates]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group:
                parameter.grad = None

    def set_rate(self, rate: float | Tensor) -> None:
        """Change the learning rate of every group; a tensor is a scalar on the parameters' device."""
        for own in self._rates:
            own.fill_(rate)

    def step(self) -> None:
        """Move the parameters in place along their gradients; one without a gradient stays."""
        raise NotImplementedError

    def memory(self, names: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """What it remembers of the steps taken, given the parameters' names by group: ``first.weight`` and so on.

        The tensors are its own: who overwrites them changes how it goes on.
        """
        return {
            f"{kind}.{name}": tensor
            for kind, groups in self._kinds().items()
            for group, held in zip(names, groups, strict=True)
            for name, tensor in zip(group, held, strict=True)
        }

    def _kinds(self) -> dict[str, list[list[Tensor]]]:
        """One tensor for each parameter of each group, by what it is."""
        raise NotImplementedError

    @torch.no_grad()
    def reset(self) -> None:
        """Forget all steps taken."""
        for groups in self._kinds().values():
            for group in groups:
                torch._foreach_zero_(group)


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015) with L2 weight decay, by torch's fused kernel.

    Args:
        groups, rates: as of any optimiser.
        betas, weight_decay: as in the paper.
        averaging: keep a running average of the parameters, in which a step counts as its number to this power
            (polynomial-decay averaging, Shamir and Zhang, 2013); without it none is kept.
    """

    MOVES = ("_first", "_second", "_steps", "_averages", "_averaged")

    def __init__(
        self,
        groups: Sequence[Sequence[Tensor]],
        rates: Sequence[float],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        averaging: float | None = None,
    ) -> None:
        super().__init__(groups, rates)
        self.betas, self.weight_decay = betas, weight_decay
        self._first = [[torch.zeros_like(p) for p in group] for group in self.groups]
        self._second = [[torch.zeros_like(p) for p in group] for group in self.groups]
        self._steps = [[torch.zeros((), dtype=torch.float32, device=p.device) for p in group] for group in self.groups]
        self.averaging = averaging
        self._averages = [] if averaging is None else [p.detach().clone() for p in self._all]
        self._averaged = torch.zeros((), dtype=torch.float32, device=self._all[0].device)

    @property
    def _all(self) -> list[Tensor]:
        return [p for group in self.groups for p in group]

    def _kinds(self) -> dict[str, list[list[Tensor]]]:
        return {"first": self._first, "second": self._second, "steps": self._steps}

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        for index, group in enumerate(self.groups):
            moving = [i for i, p in enumerate(group) if p.grad is not None]
            steps = [self._steps[index][i] for i in moving]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                [group[i] for i in moving],
                [_in_format_of(group[i]) for i in moving],
                [self._first[index][i] for i in moving],
                [self._second[index][i] for i in moving],
                [],
                steps,
                lr=self._rates[index],
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=self.weight_decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )
        self._average()

    def averaged(self, parameters: Mapping[K, Tensor]) -> dict[K, Tensor]:
        """The same parameters, each of this optimiser's as the average over its steps, if one is kept and began."""
        if not self._averaged:
            return dict(parameters)  # others may have moved them
        averages = {id(p): average for p, average in zip(self._all, self._averages, strict=False)}
        return {name: averages.get(id(p), p) for name, p in parameters.items()}

    def _average(self) -> None:
        """Take the parameters into their averages; after each step."""
        if self.averaging is None:
            return
        self._averaged += 1
        weight = (self.averaging + 1) / (self._averaged + self.averaging)
        moved = torch._foreach_sub([p.detach() for p in self._all], self._averages)
        torch._foreach_mul_(moved, weight)
        torch._foreach_add_(self._averages, moved)


def _in_format_of(parameter: Tensor) -> Tensor:
    """The gradient in its parameter's memory format: the fused kernel walks through memory and does not look at it."""
    gradient = parameter.grad
    assert gradient is not None
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class SGD(Optimiser):
    """Stochastic gradient descent with momentum and L2 weight decay."""

    MOVES = ("_velocity",)

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
        self._velocity = [[torch.zeros_like(p) for p in group] for group in self.groups] if momentum else []

    def _kinds(self) -> dict[str, list[list[Tensor]]]:
        return {"velocity": self._velocity} if self.momentum else {}

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        for index, (group, rate) in enumerate(zip(self.groups, self._rates, strict=True)):
            moving = [i for i, p in enumerate(group) if p.grad is not None]
            parameters = [group[i] for i in moving]
            updates = [p.grad for p in parameters if p.grad is not None]
            if self.weight_decay:
                updates = list(torch._foreach_add(updates, parameters, alpha=self.weight_decay))
            if self.momentum:
                velocity = [self._velocity[index][i] for i in moving]
                torch._foreach_mul_(velocity, self.momentum)
                torch._foreach_add_(velocity, updates)
                updates = velocity
            torch._foreach_sub_(parameters, torch._foreach_mul(updates, rate))
