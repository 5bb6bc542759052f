"""CMI: contrastive model inversion, which drives the images of a model apart (Fang et al., 2021).

What was read and what is ours: docs/methods/inversion_then_meta.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.compute.optimisers import Adam
from dfml.compute.placement import channels_last, send, to_device
from dfml.compute.workers import still_wanted
from dfml.errors import DfmlError
from dfml.imaging.windows import draw_windows, look_through
from dfml.inversion.descent import BETAS, Keeper
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.losses import NormHooks
from dfml.inversion.objective import make_objective
from dfml.inversion.recovered import Recovered, check_finite, interleaved_targets
from dfml.inversion.settings import InversionSettings
from dfml.networks.build import initialise
from dfml.zoo.model import PoolModel

Features = tuple[Tensor, Tensor]
"""Of the cropped (local) and of the lightly moved (global) view of the same images, ``[n, size]`` each."""


class NormInputs(NormHooks):
    """Collects, inside ``with NormInputs(network) as inputs:``, what reaches the batch norms of a frozen network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._means: list[Tensor] = []

    def note(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        """Remember its spatial means."""
        self._means.append(inputs[0].mean((2, 3)))

    def features(self) -> Tensor:
        """Spatial means of all batch norms' inputs in the passes since the last call, ``[B, sum of channels]``."""
        joined, self._means = torch.cat(self._means, 1), []
        return joined

    @property
    def size(self) -> int:
        """Length of a feature."""
        return sum(norm.num_features for norm in self._norms)


class ProjectionHead(nn.Module):
    """Features ``[n, inputs]`` to points of the unit sphere, ``[n, size]``."""

    def __init__(self, inputs: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.layers = nn.Sequential(nn.Linear(inputs, size), nn.ReLU(), nn.Linear(size, size))
        initialise(self.layers, generator)

    def forward(self, features: Tensor) -> Tensor:
        """The projections."""
        return F.normalize(self.layers(features), dim=1)


class FeatureMemory:
    """The features of the images that were recovered from one model before, the newest ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: Features | None = None

    def add(self, features: Features) -> None:
        """Remember them, and forget the oldest if there is no room."""
        if self._held is not None:
            features = (torch.cat([self._held[0], features[0]]), torch.cat([self._held[1], features[1]]))
        self._held = (features[0][-self.capacity :], features[1][-self.capacity :])

    def sample(self, count: int, generator: torch.Generator) -> Features | None:
        """At most ``count`` different images' features, drawn with a CPU generator; None while there are none."""
        if self._held is None or len(self._held[0]) <= count:
            return self._held
        chosen = send(torch.randperm(len(self._held[0]), generator=generator)[:count], self._held[0].device)
        return self._held[0][chosen], self._held[1][chosen]


def contrastive_loss(head: nn.Module, current: Features, remembered: Features | None, temperature: float) -> Tensor:
    """InfoNCE: every image's local projection should be nearest to its own global one, among all images' (CMI).

    No gradient passes through the global projections. The images of this batch and the remembered ones are averaged
    separately, and the two means added: however many are remembered, the batch counts as much.

    Args:
        head: maps features to unit vectors.
        current: of the batch, ``[n, ...]`` each, with gradients to the images.
        remembered: of earlier images of the same model, ``[m, ...]`` each, if any.
        temperature: divides the similarities.

    Returns:
        The loss, a scalar.
    """
    count = len(current[0])
    local, overall = (
        current if remembered is None else (torch.cat(pair) for pair in zip(current, remembered, strict=True))
    )
    projected, fixed = head(local), head(overall).detach()
    similarity = projected @ fixed.T / temperature
    losses = F.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device), reduction="none")
    loss = losses[:count].mean()
    return loss if remembered is None else loss + losses[count:].mean()


class ContrastiveInversion:
    """Recovers several batches of one model's task after another; the lowest-loss images of each are kept.

    Every batch starts from a generator and latents of its own. The projection head and the memory of features last for
    all batches of a model.

    Args:
        settings: of the inversion.
        side: of the images, pixels.
    """

    def __init__(self, settings: InversionSettings, *, side: int) -> None:
        self.settings, self.own, self.side = settings, settings.cmi, side
        self.objective = make_objective(settings, ce_weight=self.own.ce_weight, bn_weight=self.own.bn_weight)

    def __call__(self, model: PoolModel, generator: torch.Generator) -> list[Recovered]:
        """Recover the task of ``model``; raises DfmlError when a loss is not finite, or it has no batch norm."""
        size = NormInputs(model.module).size
        if not size:
            raise DfmlError(
                f"model {model.index} has no batch norm, and CMI compares what goes into these; use another inverter, "
                "such as `five`, or leave this network out of the pool"
            )
        head = ProjectionHead(size, self.own.projection, generator)
        head = head.to(model.mean.device, model.mean.dtype)
        optimiser = Adam([list(head.parameters())], [self.own.learning_rate], betas=BETAS)
        memory = FeatureMemory(self.own.memory)
        return [self._batch(model, head, optimiser, memory, generator) for _ in range(self.own.batches)]

    def _batch(
        self, model: PoolModel, head: ProjectionHead, of_head: Adam, memory: FeatureMemory, generator: torch.Generator
    ) -> Recovered:
        own, device = self.own, model.mean.device
        targets = interleaved_targets(len(model.class_ids), self.settings.images_per_class, device)
        fresh = draw_generator(self.settings, self.side, generator, law="normal").to(model.mean.dtype)
        network = to_device(fresh, device)
        noise = torch.randn(len(targets), self.settings.latent, generator=generator)
        latents = send(noise, device).to(model.mean.dtype).requires_grad_()
        variables = [*network.parameters(), latents]
        optimiser = Adam([variables], [own.learning_rate], betas=BETAS)
        size = {"images": len(targets)}
        crop_flips = self.objective.views.draw(
            own.steps, **size, canvas=self.side, side=model.side, generator=generator
        ).to(device)
        windows = draw_windows(own.steps, **size, smallest=own.smallest_window, generator=generator).to(device)
        keep, of_features, curve = Keeper("best"), Keeper("best"), []
        teacher = model.module
        for step in range(own.steps):
            still_wanted()
            images = network(latents)
            with NormInputs(teacher) as inputs:
                loss, cross_entropy = self.objective(model, images, targets, crop_flips[step])
                overall = inputs.features()
                teacher(channels_last(model.inputs(look_through(images, windows[step]))))
                features = (inputs.features(), overall)
            remembered = memory.sample(own.negatives, generator)
            loss = loss + own.contrast_weight * contrastive_loss(head, features, remembered, own.temperature)
            moved = [*variables, *head.parameters()]
            for variable, gradient in zip(moved, torch.autograd.grad(loss, moved), strict=True):
                variable.grad = gradient
            keep.offer(images.detach(), loss.detach())
            of_features.offer(torch.stack(features).detach(), loss.detach())
            curve.append(cross_entropy)
            optimiser.step()
            of_head.step()
        local, overall = of_features.images
        memory.add((local, overall))
        check_finite(
            model,
            torch.stack(keep.losses),
            keep.images,
            "lower `inversion.cmi.learning_rate` or the weight of a term (`bn_weight`, `contrast_weight` there)",
        )
        return Recovered(model, keep.images, targets, torch.stack(curve))
