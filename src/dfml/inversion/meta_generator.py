"""FIVE: a generator that is meta-trained to recover any model's task in a few steps (docs/method.md §3)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from dfml.config.inversion import FiveSettings
from dfml.errors import DfmlError
from dfml.inversion.objective import Objective
from dfml.networks.generator import Generator
from dfml.runtime.optimisers import SGD, Adam, Optimiser
from dfml.zoo.pool import PoolModel

BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class Recovered:
    """Images recovered from one model.

    ``images`` ``[B, 3, side, side]`` in [0, 1]; ``targets`` ``[B]``, positions of the model's outputs in the order
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
    """A generator with the settings, working copy and outer optimiser that meta-train it."""

    def __init__(self, generator: Generator, settings: FiveSettings) -> None:
        self.generator = generator.to(memory_format=torch.channels_last)
        self.settings = settings
        self._parameters = list(generator.parameters())
        self._working = copy.deepcopy(generator)
        self._outer = self._new_outer()

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
        device = self._parameters[0].device
        targets = interleaved_targets(len(model.classes), images_per_class, device)
        latents = torch.randn(len(targets), self.generator.latent, generator=draws, device=draws.device)
        latents = latents.to(device=device, dtype=self._parameters[0].dtype)
        inner = self._inner_maml if self.settings.outer_rule == "maml" else self._inner
        images, curve, losses, meta = inner(model, objective, targets, latents, draws)
        if not bool(torch.isfinite(losses).all() & torch.isfinite(images).all()):
            raise DfmlError(
                f"inversion of {model.dataset}/{model.architecture} model {model.index}: the loss is not finite; lower "
                "the weight of the adversarial or batch-norm term (`adversary.weight`, `bn_weight`) or a learning rate"
            )
        return Recovered(model, images, targets, curve), meta

    def _inner(
        self,
        model: PoolModel,
        objective: Objective,
        targets: Tensor,
        latents: Tensor,
        draws: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        settings = self.settings
        working = list(self._working.parameters())
        with torch.no_grad():
            torch._foreach_copy_(working, self._parameters)
        latents = latents.requires_grad_()
        groups, rates = [working, [latents]], [settings.learning_rate, settings.latent_learning_rate]
        adam = settings.inner_optimiser == "adam"
        optimiser = Adam(groups, rates, betas=BETAS) if adam else SGD(groups, rates)
        keep = _Keeper(settings.keep)
        meta = [torch.zeros_like(p) for p in working] if settings.outer_rule == "fomaml_sum" else []
        curve = []
        for _ in range(settings.steps):
            images = self._working(latents)
            loss, cross_entropy = objective(model, images, targets, draws)
            optimiser.zero_grad()
            loss.backward()
            keep.offer(images.detach(), loss.detach())
            curve.append(cross_entropy)
            if settings.outer_rule == "fomaml_sum":
                torch._foreach_add_(meta, [p.grad for p in working])
            elif settings.outer_rule == "fomaml_last":
                meta = [p.grad.clone() for p in working]
            optimiser.step()
        with torch.no_grad():
            if settings.outer_rule == "reptile":
                meta = torch._foreach_sub(self._parameters, working)
            if settings.keep == "final":
                keep.replace(self._working(latents))
        return keep.images, torch.stack(curve), torch.stack(keep.losses), list(meta)

    def _inner_maml(
        self,
        model: PoolModel,
        objective: Objective,
        targets: Tensor,
        latents: Tensor,
        draws: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """The inner loop with its graph kept: the gradient of the last forward's loss with respect to φ, exactly."""
        names = [name for name, _ in self.generator.named_parameters()]
        start = [p.detach().requires_grad_() for p in self._parameters]
        weights, variable = start, latents.requires_grad_()
        step = _DifferentiableStep(self.settings)
        keep = _Keeper(self.settings.keep)
        curve = []
        for j in range(self.settings.steps):
            images = functional_call(self.generator, dict(zip(names, weights, strict=True)), variable)
            loss, cross_entropy = objective(model, images, targets, draws)
            keep.offer(images.detach(), loss.detach())
            curve.append(cross_entropy)
            last = j == self.settings.steps - 1
            if last:
                meta = torch.autograd.grad(loss, start, retain_graph=True)
            gradients = torch.autograd.grad(loss, [*weights, variable], create_graph=not last)
            *weights, variable = step([*weights, variable], gradients)
        if self.settings.keep == "final":
            with torch.no_grad():
                keep.replace(functional_call(self.generator, dict(zip(names, weights, strict=True)), variable))
        return keep.images, torch.stack(curve), torch.stack(keep.losses), [g.detach() for g in meta]

    @torch.no_grad()
    def outer_step(self, pseudo_gradients: Sequence[Sequence[Tensor]]) -> None:
        """Move the generator along the sum of the models' pseudo-gradients."""
        if self.settings.outer_optimiser == "adam_fresh":
            self._outer = self._new_outer()
        for parameter, parts in zip(self._parameters, zip(*pseudo_gradients, strict=True), strict=True):
            parameter.grad = torch.stack(parts).sum(0)
        self._outer.step()
        self._outer.zero_grad()

    def step(
        self, models: Sequence[PoolModel], objective: Objective, *, images_per_class: int, draws: torch.Generator
    ) -> list[Recovered]:
        """One outer iteration: recover every model's task, then update the generator."""
        results = [self.adapt(m, objective, images_per_class=images_per_class, draws=draws) for m in models]
        self.outer_step([meta for _, meta in results])
        return [recovered for recovered, _ in results]

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {"generator": self.generator.state_dict(), "outer": self._outer.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.generator.load_state_dict(state["generator"])
        self._outer.load_state(state["outer"])


class _Keeper:
    """Decides on the device which iterate's images are kept (F10)."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.losses: list[Tensor] = []
        self._best: Tensor | None = None
        self._images: Tensor | None = None

    def offer(self, images: Tensor, loss: Tensor) -> None:
        self.losses.append(loss)
        if self.rule == "best" and self._best is not None:
            better = loss < self._best
            self._images = torch.where(better, images, self._images)
            self._best = torch.minimum(loss, self._best)
        else:
            self._best, self._images = loss, images

    def replace(self, images: Tensor) -> None:
        self._images = images

    @property
    def images(self) -> Tensor:
        assert self._images is not None
        return self._images


class _DifferentiableStep:
    """Adam or SGD on lists of tensors, written so that gradients pass through the update."""

    def __init__(self, settings: FiveSettings) -> None:
        self.settings = settings
        self.count = 0
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []

    def __call__(self, values: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        rates = [self.settings.learning_rate] * (len(values) - 1) + [self.settings.latent_learning_rate]
        if self.settings.inner_optimiser == "sgd":
            return [v - rate * g for v, g, rate in zip(values, gradients, rates, strict=True)]
        self.count += 1
        old_first = self.first or [torch.zeros_like(g) for g in gradients]
        old_second = self.second or [torch.zeros_like(g) for g in gradients]
        self.first = [BETAS[0] * m + (1 - BETAS[0]) * g for m, g in zip(old_first, gradients, strict=True)]
        self.second = [BETAS[1] * s + (1 - BETAS[1]) * g * g for s, g in zip(old_second, gradients, strict=True)]
        first_scale, second_scale = 1 - BETAS[0] ** self.count, 1 - BETAS[1] ** self.count
        # The tiny floor keeps the square root differentiable where a gradient is exactly zero.
        return [
            v - rate * (m / first_scale) / ((s / second_scale + 1e-24).sqrt() + 1e-8)
            for v, m, s, rate in zip(values, self.first, self.second, rates, strict=True)
        ]
