"""What CMI adds to inversion: features of two views, a memory of them, and a loss that drives images apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.compute.placement import send
from dfml.inversion.norm_hooks import NormHooks
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from dfml.networks.initialise import initialise

Features = tuple[Tensor, Tensor]
"""Of the cropped (local) and of the lightly moved (global) view of the same images, ``[n, size]`` each."""


class NormInputs(NormHooks):
    """Collects, inside ``with NormInputs(network) as inputs:``, what reaches the batch norms of a frozen network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._means: list[Tensor] = []

    def note(self, norm: EpisodicBatchNorm2d, inputs: tuple[Tensor]) -> None:
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

    def __init__(self, inputs: int, size: int, draws: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.layers = nn.Sequential(nn.Linear(inputs, size), nn.ReLU(), nn.Linear(size, size))
        initialise(self.layers, draws)

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

    def sample(self, count: int, draws: torch.Generator) -> Features | None:
        """At most ``count`` different images' features, drawn with a CPU generator; None while there are none."""
        if self._held is None or len(self._held[0]) <= count:
            return self._held
        chosen = send(torch.randperm(len(self._held[0]), generator=draws)[:count], self._held[0].device)
        return self._held[0][chosen], self._held[1][chosen]


def contrastive_loss(head: nn.Module, current: Features, remembered: Features | None, temperature: float) -> Tensor:
    """InfoNCE: every image's local projection should be nearest to its own global one, among all images' (CMI).

    No gradient passes through the global projections. The images of this batch and the remembered ones are averaged
    separately, and the two means added: however many are remembered, the batch counts as much.

    Args:
        head: maps features to unit vectors.
        current: of the batch, with gradients to the images.
        remembered: of earlier images of the same model, if any.
        temperature: divides the similarities.
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
