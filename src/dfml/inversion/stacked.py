"""FIVE's inner loop on several models of one form at once: everything has a first dimension, one place for each model.

A GPU then gets one kernel where it got one for each model. Every model has weights of its own, and so has its copy of
the generator, which makes the convolutions grouped ones or, where that is faster, batched matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dfml.compute.capture import Recorded
from dfml.compute.optimisers import SGD, Adam
from dfml.imaging.crop_flip import CropFlips
from dfml.inversion.descent import Found, descend, inner_optimiser
from dfml.inversion.inner_steps import Given
from dfml.inversion.objective import Objective
from dfml.inversion.settings import FiveSettings
from dfml.networks.batching_rules import ConvolutionsAsProducts
from dfml.networks.generator import Generator
from dfml.zoo.model import PoolModel

Stack = dict[str, Tensor]


def can_be_stacked(model: PoolModel, objective: object, settings: FiveSettings) -> bool:
    """Whether a model can be one of several that are inverted at once.

    It is of this package and gives its weights, the objective is of the model's own answers alone and remembers nothing
    from step to step, and no derivative of second order is taken.
    """
    return (
        model.spec is not None
        and isinstance(model.network, nn.Module)
        and isinstance(objective, Objective)
        and objective.adversary is None
        and objective.begun() is objective
        and settings.outer_rule != "maml"
    )


class StackedSteps:
    """A place where a generator is adapted to several models at once, which all have one form.

    On a GPU the whole loop is a CUDA graph for each form and number of models.

    Args:
        network: the generator that is adapted; read, never changed here. Its owner may change it between calls.
        settings: of FIVE.
        products: as in :class:`dfml.networks.batching_rules.ConvolutionsAsProducts`; 0: all convolutions are grouped
            ones.
    """

    def __init__(self, network: Generator, settings: FiveSettings, *, products: int = 0) -> None:
        self.network, self.settings, self.products = network, settings, products
        self._parameters: list[Tensor] = list(network.parameters())
        self._names = [name for name, _ in network.named_parameters()]
        self._device = self._parameters[0].device
        self._fitted: dict[torch.Size, tuple[list[Tensor], Tensor, SGD | Adam]] = {}
        self._teachers: dict[object, Stack] = {}
        self._recorded: dict[object, Recorded] = {}

    def __call__(self, models: Sequence[PoolModel], objective: Objective, given: Sequence[Given]) -> list[Found]:
        """Adapt to every model.

        Args:
            models: of one form, each of which :func:`can_be_stacked`.
            objective: what is minimised; the same object every time, or each is recorded.
            given: what :meth:`dfml.inversion.inner_steps.InnerSteps.draw` drew for each.

        Returns:
            For each model as :class:`dfml.inversion.inner_steps.InnerSteps`.
        """
        place = (models[0].form, len(models))
        self._load(place, models)
        key = (*place, objective)
        if key not in self._recorded:
            # With its network: one that is read from disk again cannot be while this is recorded.
            form = models[0].carrying(models[0].module)

            def run(targets: Tensor, latents: Tensor, shift: Tensor, flipped: Tensor) -> Found:
                return self._run(form, self._teachers[place], objective, targets, latents, CropFlips(shift, flipped))

            self._recorded[key] = Recorded(run, self._device)
        targets, latents, moves = zip(*given, strict=True)
        images, curves, losses, *meta = self._recorded[key](
            torch.stack(targets),
            torch.stack(latents),
            torch.stack([move.shift for move in moves], 1),
            torch.stack([move.flipped for move in moves], 1),
        )
        return list(zip(images, curves.unbind(1), losses.unbind(1), *meta, strict=True))

    @torch.no_grad()
    def _load(self, place: object, models: Sequence[PoolModel]) -> None:
        """Copy the models' tensors to where a recorded loop reads them."""
        states = [_state(model) for model in models]
        if place not in self._teachers:
            self._teachers[place] = {
                name: torch.stack([state[name] for state in states]).contiguous() for name in states[0]
            }
            return
        for name, held in self._teachers[place].items():
            torch._foreach_copy_(list(held.unbind()), [state[name] for state in states])

    def _run(
        self,
        form: PoolModel,
        teachers: Stack,
        objective: Objective,
        targets: Tensor,
        start: Tensor,
        crop_flips: CropFlips,
    ) -> Found:
        working, latents, optimiser = self._place_for(start)
        with torch.no_grad():
            origin = [own.expand_as(held) for own, held in zip(self._parameters, working, strict=True)]
            torch._foreach_copy_([*working, latents], [*origin, start])
        asked = _Asked(form, objective)

        def render(parameters: Sequence[Tensor], own: Tensor) -> Tensor:
            return functional_call(self.network, dict(zip(self._names, parameters, strict=True)), (own,))

        def ask_one(
            parameters: Sequence[Tensor], own: Tensor, teacher: Stack, wanted: Tensor, shift: Tensor, flipped: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            images = render(parameters, own)
            return images, *functional_call(asked, teacher, (images, wanted, shift, flipped))

        def ask(step: int) -> tuple[Tensor, Tensor, Tensor]:
            moves = crop_flips[step]
            return vmap(ask_one)(working, latents, teachers, targets, moves.shift, moves.flipped)

        with ConvolutionsAsProducts(self.products) if self.products else nullcontext():
            return descend(
                self.settings,
                self._parameters,
                working,
                latents,
                optimiser,
                ask=ask,
                render=lambda: vmap(render)(working, latents),
            )

    def _place_for(self, latents: Tensor) -> tuple[list[Tensor], Tensor, SGD | Adam]:
        if latents.shape not in self._fitted:
            working = [
                torch.zeros(len(latents), *own.shape, dtype=own.dtype, device=own.device).requires_grad_()
                for own in self._parameters
            ]
            moved = torch.zeros_like(latents).requires_grad_()
            self._fitted[latents.shape] = working, moved, inner_optimiser(self.settings, working, moved)
        return self._fitted[latents.shape]


def _state(model: PoolModel) -> Stack:
    tensors = {f"network.{name}": tensor for name, tensor in model.module.state_dict().items()}
    return tensors | {"mean": model.mean, "std": model.std}


class _Asked(nn.Module):
    """The objective as a function of all tensors of a model, which ``functional_call`` puts in the place of these."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: PoolModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective, self.network = model, objective, model.module
        self.register_buffer("mean", model.mean)
        self.register_buffer("std", model.std)

    def forward(self, images: Tensor, targets: Tensor, shift: Tensor, flipped: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and cross-entropy; arguments as of :class:`dfml.inversion.objective.Objective`."""
        model = replace(self.model, mean=self.mean, std=self.std).carrying(self.network)
        return self.objective(model, images, targets, CropFlips(shift, flipped))
