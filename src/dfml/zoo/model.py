"""One frozen classifier of a pool, and how it is asked."""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor, nn

from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.zoo import NetworkSpec
from dfml.imaging.pixels import normalise, resized
from dfml.zoo.access import AccessError, GradientsOnly
from dfml.zoo.resident import Network, Source


@dataclass(frozen=True)
class PoolModel:
    """One frozen classifier of a pool.

    ``classes`` are the pool-wide ids of its outputs in order, ``[ways]``; ``mean`` and ``std`` have shape ``[3]``.
    ``source`` gives the network, which need not be in memory (:mod:`dfml.zoo.resident`). ``selection_accuracy``
    is what models may be chosen by, in percent; their own accuracy, for tables, is measured on images that choose
    nothing, and so is not here; of imported models it is what their owner says, 0 where that is nothing. ``spec`` is
    None for those, ``architecture`` their name, and ``features`` where their features are, if they give any.
    ``answers_only``: whatever the pool gives of other models, this one is a service that answers.
    """

    index: int
    source: Source
    spec: NetworkSpec | None
    classes: Tensor
    mean: Tensor
    std: Tensor
    side: int
    dataset: str
    architecture: str
    selection_accuracy: float
    features: ImportedFeatures | None = None
    answers_only: bool = False

    @property
    def network(self) -> Network:
        """The module itself, or as much of it as the pool gives (:mod:`dfml.zoo.access`)."""
        return self.source()

    def carrying(self, network: Network) -> "PoolModel":
        """The same model with another network, which is held in memory."""
        return replace(self, source=lambda: network)

    @property
    def form(self) -> NetworkSpec | int:
        """What models of one form share: the shapes of all tensors and what is done with them."""
        return self.index if self.spec is None else self.spec

    @property
    def module(self) -> nn.Module:
        """The network with its weights; raises AccessError where the pool does not give them."""
        network = self.network
        if isinstance(network, GradientsOnly):
            raise AccessError("this model does not give its weights (`pools.*.access`)")
        return network

    @cached_property
    def class_ids(self) -> tuple[int, ...]:
        """``classes`` as plain numbers, which nobody has to fetch from the device."""
        return tuple(self.classes.tolist())

    def inputs(self, images: Tensor) -> Tensor:
        """Images in [0, 1] of any side as this model was trained to see them: of its own side, normalised."""
        return normalise(resized(images, self.side), self.mean, self.std)

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``[B, ways]`` of images ``[B, 3, any, any]`` in [0, 1]."""
        return self.network(self.inputs(images))
