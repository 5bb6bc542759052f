"""FIVE's inner loop: a copy of the generator and its latents fitted to one model in a few steps."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dfml.compute.capture import Recorded, overlapped
from dfml.compute.optimisers import SGD, Adam
from dfml.compute.placement import send
from dfml.compute.workers import side_by_side
from dfml.imaging.crop_flip import CropFlips
from dfml.inversion.descent import BETAS, Found, Keeper, descend, inner_optimiser
from dfml.inversion.objective import Objective
from dfml.inversion.recovered import interleaved_targets
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.networks.generator import Generator
from dfml.zoo.model import PoolModel


@torch.no_grad()
def draw_generator(settings: InversionSettings, side: int, generator: torch.Generator, *, law: str) -> Generator:
    """A new generator. ``law`` is ``default`` (PyTorch's, as FREE) or ``normal`` (N(0, 0.02), as BiDf-MKD and TGR)."""
    network = Generator(latent=settings.latent, width=settings.width, side=side)
    network.initialise(generator)
    if law == "normal":
        for name, parameter in network.named_parameters():
            if name.endswith("weight"):
                centre = 1.0 if name.startswith("norm") else 0.0
                parameter.normal_(centre, 0.02, generator=generator)
            else:
                parameter.zero_()
    return network


# Targets, latents and the augmentation of each step.
Given = tuple[Tensor, Tensor, CropFlips]


class InnerSteps:
    """A place where a generator is adapted to one model after another; nothing is allocated anew for the next one.

    On a GPU the whole loop is a CUDA graph for each architecture of the model, queued on a stream of its own so that
    several places work at once.

    Args:
        network: the generator that is adapted; read, never changed here. Its owner may change it between calls.
        settings: of FIVE.
    """

    def __init__(self, network: Generator, settings: FiveSettings) -> None:
        self.network, self.settings = network, settings
        self._parameters: list[Tensor] = list(network.parameters())
        self._device = self._parameters[0].device
        self.working = copy.deepcopy(network)
        self._fitted: dict[torch.Size, tuple[Tensor, SGD | Adam]] = {}
        self._teachers: dict[object, PoolModel] = {}
        self._recorded: dict[object, Recorded] = {}
        self.stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def draw(
        self, model: PoolModel, objective: Objective, *, images_per_class: int, generator: torch.Generator
    ) -> Given:
        """Targets, latents and augmentation of one adaptation to ``model``, drawn with a CPU generator."""
        like = self._parameters[0]
        targets = interleaved_targets(len(model.class_ids), images_per_class, like.device)
        latents = torch.randn(len(targets), self.network.latent, generator=generator, device=generator.device)
        crop_flips = objective.views.draw(
            self.settings.steps, images=len(targets), canvas=self.network.side, side=model.side, generator=generator
        )
        return targets, send(latents.to(like.dtype), like.device), crop_flips.to(like.device)

    def __call__(
        self, model: PoolModel, objective: Objective, targets: Tensor, latents: Tensor, crop_flips: CropFlips
    ) -> Found:
        """Adapt to ``model``.

        Args:
            model: the frozen classifier.
            objective: what is minimised; the same object every time, or each is recorded.
            targets: ``[B]``.
            latents: where they start, ``[B, latent]``.
            crop_flips: the augmentation of each step, ``[k, B, …]``, or ``[k, 1, …]`` for all images of a batch.

        Returns:
            The kept images ``[B, 3, side, side]``, cross-entropies and losses of the forward passes ``[k]``, and the
            pseudo-gradient by the outer rule, one tensor per parameter of the generator.
        """
        if self._device.type != "cuda":
            return self._run(model, objective, targets, latents, crop_flips)
        if model.spec is None or not isinstance(model.network, nn.Module):
            # Weights that are not given cannot be copied into a recorded loop; and models from elsewhere are each of a
            # form of their own, whose loops would all stay in memory.
            with torch.cuda.stream(self.stream):
                return self._run(model, objective, targets, latents, crop_flips)
        key = (model.form, objective)
        if key not in self._recorded:
            self._recorded[key] = self._record(model, objective)
        teacher = self._teachers[model.form]
        with torch.cuda.stream(self.stream):
            _load(teacher, model)
        return self._recorded[key](targets, latents, crop_flips.shift, crop_flips.flipped)

    def _record(self, model: PoolModel, objective: Objective) -> Recorded:
        if model.form not in self._teachers:
            self._teachers[model.form] = _resident(model)
            # It was made on the current stream, and is overwritten on this place's own.
            assert self.stream is not None
            self.stream.wait_stream(torch.cuda.current_stream(self._device))
        teacher = self._teachers[model.form]

        def run(targets: Tensor, latents: Tensor, shift: Tensor, flipped: Tensor) -> Found:
            return self._run(teacher, objective, targets, latents, CropFlips(shift, flipped))

        return Recorded(run, self._device, self.stream)

    def _run(
        self, model: PoolModel, objective: Objective, targets: Tensor, latents: Tensor, crop_flips: CropFlips
    ) -> Found:
        steps = self._exact if self.settings.outer_rule == "maml" else self._first_order
        if isinstance(objective, Objective):
            objective = objective.begun()
        return steps(model, objective, targets, latents, crop_flips)

    def _first_order(
        self, model: PoolModel, objective: Objective, targets: Tensor, start: Tensor, crop_flips: CropFlips
    ) -> Found:
        latents, optimiser = self._place_for(start)

        def ask(step: int) -> tuple[Tensor, Tensor, Tensor]:
            images = self.working(latents)
            return images, *objective(model, images, targets, crop_flips[step])

        working: list[Tensor] = list(self.working.parameters())
        with torch.no_grad():
            torch._foreach_copy_([*working, latents], [*self._parameters, start])
        return descend(
            self.settings,
            self._parameters,
            working,
            latents,
            optimiser,
            ask=ask,
            render=lambda: self.working(latents),
        )

    def _place_for(self, latents: Tensor) -> tuple[Tensor, SGD | Adam]:
        if latents.shape not in self._fitted:
            own = torch.zeros_like(latents).requires_grad_()
            self._fitted[latents.shape] = own, inner_optimiser(self.settings, list(self.working.parameters()), own)
        return self._fitted[latents.shape]

    def _exact(
        self, model: PoolModel, objective: Objective, targets: Tensor, start: Tensor, crop_flips: CropFlips
    ) -> Found:
        """The loop with its graph kept: the gradient of the last forward's loss with respect to φ, exactly."""
        names = [name for name, _ in self.network.named_parameters()]
        origin = [p.detach().requires_grad_() for p in self._parameters]
        weights, variable = origin, start.detach().requires_grad_()
        update = _DifferentiableStep(self.settings)
        keep = Keeper(self.settings.keep)
        curve = []
        for step in range(self.settings.steps):
            images = functional_call(self.working, dict(zip(names, weights, strict=True)), variable)
            loss, cross_entropy = objective(model, images, targets, crop_flips[step])
            keep.offer(images.detach(), loss.detach())
            curve.append(cross_entropy)
            last = step == self.settings.steps - 1
            if last:
                meta = torch.autograd.grad(loss, origin, retain_graph=True)
            gradients = torch.autograd.grad(loss, [*weights, variable], create_graph=not last)
            *weights, variable = update([*weights, variable], gradients)
        if self.settings.keep == "final":
            with torch.no_grad():
                keep.replace(functional_call(self.working, dict(zip(names, weights, strict=True)), variable))
        return (keep.images, torch.stack(curve), torch.stack(keep.losses), *(g.detach() for g in meta))


def adapt_at(
    places: Sequence[InnerSteps], models: Sequence[PoolModel], objective: Objective, given: Sequence[Given]
) -> list[Found]:
    """Adapt to every model at a place of its own, with what was drawn for it; all of them at once."""

    def work(positions: Sequence[int]) -> list[Found]:
        return [places[i](models[i], objective, *given[i]) for i in positions]

    if places[0].stream is not None:
        calls = [partial(work, [i]) for i in range(len(models))]
        return [found for (found,) in overlapped(calls, [place.stream for place in places])]
    # A model that was drawn twice must not be asked by two threads: the objective hooks into its network.
    shared: dict[int, list[int]] = {}
    for i, model in enumerate(models):
        shared.setdefault(id(model.source), []).append(i)
    by_position: dict[int, Found] = {}
    for positions, results in zip(shared.values(), side_by_side(work, shared.values()), strict=True):
        by_position.update(zip(positions, results, strict=True))
    return [by_position[i] for i in range(len(models))]


def _resident(model: PoolModel) -> PoolModel:
    """A model of the same form in memory of its own, to be overwritten by :func:`_load`."""
    own = replace(model, mean=model.mean.clone(), std=model.std.clone())
    return own.carrying(copy.deepcopy(model.module))


@torch.no_grad()
def _load(teacher: PoolModel, model: PoolModel) -> None:
    own, given = ([*m.network.state_dict().values(), m.mean, m.std] for m in (teacher, model))
    torch._foreach_copy_(own, given)


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
