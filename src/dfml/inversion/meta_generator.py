"""FIVE: a generator that is meta-trained to recover any model's task in a few steps (docs/method.md §3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dfml.compute.capture import overlapped
from dfml.compute.optimisers import SGD, Adam, Optimiser
from dfml.compute.placement import send, settle
from dfml.compute.workers import side_by_side
from dfml.imaging.crop_flip import Moves
from dfml.inversion.finite import not_finite
from dfml.inversion.inner_steps import BETAS, Found, InnerSteps
from dfml.inversion.objective import Objective
from dfml.inversion.settings import FiveSettings
from dfml.networks.generator import Generator
from dfml.zoo.pool import PoolModel


@dataclass(frozen=True)
class Recovered:
    """Images recovered from one model.

    ``images`` ``[B, 3, canvas, canvas]`` in [0, 1]; ``targets`` ``[B]``, positions of the model's outputs in the order
    0, 1, …, ways−1, 0, 1, …; ``curve`` the cross-entropy of each forward pass, ``[k]``, on the device.
    """

    model: PoolModel
    images: Tensor
    targets: Tensor
    curve: Tensor


def interleaved_targets(ways: int, images_per_class: int, device: torch.device) -> Tensor:
    """Targets 0, 1, …, ways−1 repeated ``images_per_class`` times, ``[ways · images_per_class]``."""
    return torch.arange(ways, device=device).repeat(images_per_class)


class MetaGenerator:
    """A generator with the settings, places of work and outer optimiser that meta-train it."""

    def __init__(self, generator: Generator, settings: FiveSettings) -> None:
        self.generator = settle(generator, next(generator.parameters()).device)
        self.settings = settings
        self._parameters = list(generator.parameters())
        self.places: list[InnerSteps] = []
        self._outer = self._new_outer()
        self._unchecked: list[tuple[PoolModel, Tensor]] = []

    def _new_outer(self) -> Optimiser:
        rate = self.settings.resolved().outer_learning_rate
        if self.settings.outer_optimiser == "sgd":
            return SGD([self._parameters], [rate])
        return Adam([self._parameters], [rate], betas=BETAS)

    def adapt(
        self,
        model: PoolModel,
        objective: Objective,
        *,
        images_per_class: int,
        draws: torch.Generator,
    ) -> tuple[Recovered, list[Tensor]]:
        """Adapt a copy of the generator to one model; the generator itself is not changed.

        Returns:
            The recovered images and the model's pseudo-gradient by the outer rule, one tensor per parameter.

        Raises:
            DfmlError: a loss or an image was not finite.
        """
        (result,) = self._adapt([model], objective, images_per_class, draws)
        self.check()
        return result

    def _adapt(
        self, models: Sequence[PoolModel], objective: Objective, images_per_class: int, draws: torch.Generator
    ) -> list[tuple[Recovered, list[Tensor]]]:
        device = self._parameters[0].device
        self.places += [InnerSteps(self.generator, self.settings) for _ in range(len(models) - len(self.places))]
        given = [self._draw(model, objective, images_per_class, draws) for model in models]

        def work(positions: Sequence[int]) -> list[Found]:
            return [self.places[i](models[i], objective, *given[i]) for i in positions]

        if device.type == "cuda":
            calls = [partial(work, [i]) for i in range(len(models))]
            done = [found for (found,) in overlapped(calls, [place.stream for place in self.places])]
        else:
            # A model that was drawn twice must not be asked by two threads: the objective hooks into its network.
            shared: dict[int, list[int]] = {}
            for i, model in enumerate(models):
                shared.setdefault(id(model.network), []).append(i)
            by_position = {}
            for positions, results in zip(shared.values(), side_by_side(work, shared.values()), strict=True):
                by_position.update(zip(positions, results, strict=True))
            done = [by_position[i] for i in range(len(models))]
        recovered = []
        for model, (targets, *_), (images, curve, losses, *meta) in zip(models, given, done, strict=True):
            self._unchecked.append((model, torch.isfinite(losses).all() & torch.isfinite(images).all()))
            recovered.append((Recovered(model, images, targets, curve), meta))
        return recovered

    def _draw(
        self, model: PoolModel, objective: Objective, images_per_class: int, draws: torch.Generator
    ) -> tuple[Tensor, Tensor, Moves]:
        """Targets, latents and augmentation of one inner loop."""
        like = self._parameters[0]
        targets = interleaved_targets(len(model.class_ids), images_per_class, like.device)
        latents = torch.randn(len(targets), self.generator.latent, generator=draws, device=draws.device)
        moves = objective.views.draw(
            self.settings.steps, images=len(targets), canvas=self.generator.side, side=model.side, draws=draws
        )
        return targets, send(latents.to(like.dtype), like.device), moves.to(like.device)

    def check(self) -> None:
        """Wait for the device and make sure that nothing recovered so far was infinite or not a number.

        Raises:
            DfmlError: a loss or an image was not finite.
        """
        if not self._unchecked:
            return
        fine = torch.stack([flag for _, flag in self._unchecked]).tolist()
        models, self._unchecked = [model for model, _ in self._unchecked], []
        for model, good in zip(models, fine, strict=True):
            if not good:
                raise not_finite(
                    model,
                    "lower the weight of the adversarial or batch-norm term (`adversary.weight`, `bn_weight`) or a "
                    "learning rate",
                )

    @torch.no_grad()
    def outer_step(self, pseudo_gradients: Sequence[Sequence[Tensor]]) -> None:
        """Move the generator along the sum of the models' pseudo-gradients."""
        if self.settings.outer_optimiser == "adam_fresh":
            self._outer.reset()
        for parameter, parts in zip(self._parameters, zip(*pseudo_gradients, strict=True), strict=True):
            parameter.grad = torch.stack(parts).sum(0)
        self._outer.step()
        self._outer.zero_grad()

    def step(
        self, models: Sequence[PoolModel], objective: Objective, *, images_per_class: int, draws: torch.Generator
    ) -> list[Recovered]:
        """One outer iteration: recover every model's task, then update the generator.

        Whether the losses were finite is told by the next :meth:`check`, which waits for the device.
        """
        results = self._adapt(models, objective, images_per_class, draws)
        self.outer_step([meta for _, meta in results])
        return [recovered for recovered, _ in results]

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {"generator": self.generator.state_dict(), "outer": self._outer.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.generator.load_state_dict(state["generator"])
        self._outer.load_state(state["outer"])
