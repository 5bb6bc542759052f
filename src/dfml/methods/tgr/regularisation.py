"""Distillation of several models at once whose disagreement is regularised (TGR, ICML 2024)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import Optimiser
from dfml.compute.workers import private_copy, side_by_side
from dfml.metalearning.distillation import distillation_loss
from dfml.metalearning.inner_loop import Parameters
from dfml.networks.batch_norm import second_derivatives

T = TypeVar("T")
R = TypeVar("R")


class TaughtSet(NamedTuple):
    """Images as the learner sees them ``[B, 3, side, side]``, the model's logits ``[B, ways]``, labels ``[B]``."""

    inputs: Tensor
    teacher: Tensor
    targets: Tensor


class RegularisedStep:
    """One step of the learner on the sets of several models.

    With L_i the distillation loss of set i, g_i its gradient at θ and ḡ their mean, every set's loss is taken where
    it is displaced to, θ_i = θ − λ (ḡ − g_i), and the update is the gradient of mean_i L_i(θ_i). To the order of λ
    that is the gradient of mean L_i + λ c mean_i ‖g_i − ḡ‖², c being 1 if the displacement is differentiated as well
    and ½ if not.

    With v_i the gradient of L_i at θ_i, v̄ their mean and H_i the Hessian at θ, differentiating the displacement gives
    v̄ + λ mean_i H_i (v_i − v̄), because mean_i H̄ v_i = mean_i H_i v̄. So each set needs one Hessian-vector product of
    its own, and no graph spans all of them.

    Args:
        network: gives the form; its own parameters are not used.
        parameters: moved in place; held by ``optimiser``.
        optimiser: of the parameters.
        kd_loss: as in :func:`dfml.metalearning.distillation.distillation_loss`.
        ce_weight: of the cross-entropy to the labels, which is added.
        displacement: λ.
        second_order: differentiate the displacement.
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Parameters,
        optimiser: Optimiser,
        *,
        kd_loss: str,
        ce_weight: float,
        displacement: float,
        second_order: bool,
    ) -> None:
        self.network, self.parameters, self.optimiser = network, parameters, optimiser
        self.kd_loss, self.ce_weight = kd_loss, ce_weight
        self.displacement, self.second_order = displacement, second_order
        self._values = list(parameters.values())
        self._step = Recorded(self._compute, self._values[0].device)

    def __call__(self, sets: Sequence[TaughtSet]) -> tuple[Tensor, Tensor]:
        """Move the parameters; returns mean L_i and the disagreement mean ‖g_i − ḡ‖² at the old ones, scalars."""
        # In one order of sides, whichever that the models were drawn in, so that fewer shapes are recorded.
        ordered = sorted(sets, key=lambda one: one.inputs.shape[-1])
        loss, disagreement = self._step(*(tensor for one in ordered for tensor in one))
        return loss, disagreement

    def _compute(self, *flat: Tensor) -> tuple[Tensor, Tensor]:
        sets = [TaughtSet(*flat[i : i + 3]) for i in range(0, len(flat), 3)]
        loss, disagreement, update = self.update(sets)
        for parameter, gradient in zip(self._values, update, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss, disagreement

    def update(self, sets: Sequence[TaughtSet]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Mean loss, disagreement, and what the step hands to the optimiser, one tensor per parameter."""
        here = [(one, self._values) for one in sets]
        losses, gradients = zip(*self._each(self._at_home, here), strict=True)
        own = [[g.detach() for g in gradient] for gradient in gradients]
        mean = _mean(own)
        displaced = []
        for one, gradient in zip(sets, own, strict=True):
            towards = torch._foreach_mul(torch._foreach_sub(mean, gradient), self.displacement)
            points = torch._foreach_sub([p.detach() for p in self._values], towards)
            displaced.append((one, [p.requires_grad_() for p in points]))
        there = list(self._each(self._at_displaced, displaced))
        update = _mean(there)
        if self.second_order:
            pulls = [list(torch._foreach_sub(gradient, update)) for gradient in there]
            curved = _mean(list(self._each(self._curve, zip(gradients, pulls, strict=True))))
            update = list(torch._foreach_add(update, curved, alpha=self.displacement))
        apart = [torch.stack([d.square().sum() for d in torch._foreach_sub(g, mean)]).sum() for g in own]
        return torch.stack(losses).mean(), torch.stack(apart).mean(), list(update)

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Sets side by side where threads help; a GPU takes them in turn."""
        return side_by_side(function, items) if self._values[0].device.type == "cpu" else map(function, items)

    def _at_home(self, item: tuple[TaughtSet, list[Tensor]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self._gradient(*item, with_graph=self.second_order)

    def _at_displaced(self, item: tuple[TaughtSet, list[Tensor]]) -> list[Tensor]:
        return list(self._gradient(*item, with_graph=False)[1])

    def _gradient(self, one: TaughtSet, values: list[Tensor], *, with_graph: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        derivatives = second_derivatives if with_graph else nullcontext
        with private_copy(self.network) as form, derivatives(form):
            student = functional_call(form, dict(zip(self.parameters, values, strict=True)), (one.inputs,))
            loss = distillation_loss(student, one.teacher, self.kd_loss)
            if self.ce_weight:
                loss = loss + self.ce_weight * F.cross_entropy(student, one.targets)
            return loss.detach(), torch.autograd.grad(loss, values, create_graph=with_graph)

    def _curve(self, item: tuple[tuple[Tensor, ...], list[Tensor]]) -> list[Tensor]:
        """Hessian times a vector, from a gradient with its graph."""
        return list(torch.autograd.grad(item[0], self._values, grad_outputs=item[1]))


def _mean(lists: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Means of corresponding tensors."""
    return [torch.stack(parts).mean(0) for parts in zip(*lists, strict=True)]
