"""One frozen classifier of a pool, and how it is asked."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.zoo import NetworkSpec
from dfml.imaging.pixels import normalise, resized
from dfml.zoo.access import AccessError, GradientsOnly


@dataclass(frozen=True)
class PoolModel:
    """One frozen classifier of a pool.

    ``classes`` are the pool-wide ids of its outputs in order, ``[ways]``; ``mean`` and ``std`` have shape ``[3]``.
    ``network`` is the module itself or as much of it as the pool gives (:mod:`dfml.zoo.access`). ``selection_accuracy``
    is what models may be chosen by, in percent; their own accuracy, for tables, is measured on images that choose
    nothing, and so is not here; of imported models it is what their owner says, 0 where that is nothing. ``spec`` is
    None for those, ``architecture`` their name, and ``features`` where their features are, if they give any.
    """

    index: int
    network: nn.Module | GradientsOnly
    spec: NetworkSpec | None
    classes: Tensor
    mean: Tensor
    std: Tensor
    side: int
    dataset: str
    architecture: str
    selection_accuracy: float
    features: ImportedFeatures | None = None

    @property
    def form(self) -> NetworkSpec | int:
        """What models of one form share: the shapes of all tensors and what is done with them."""
        return self.index if self.spec is None else self.spec

    @property
    def module(self) -> nn.Module:
        """The network with its weights; raises AccessError where the pool does not give them."""
        if isinstance(self.network, GradientsOnly):
            raise AccessError("this model does not give its weights (`pools.*.access`)")
        return self.network

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
