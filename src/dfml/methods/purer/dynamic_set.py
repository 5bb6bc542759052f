"""PURER's dynamic data set: synthetic images of every class that are themselves what is trained (Hu et al., 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dfml.compute.optimisers import Adam
from dfml.compute.placement import send
from dfml.errors import DfmlError
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool


@dataclass(frozen=True, eq=False)
class DynamicImages:
    """The images of all classes that some model of a pool has, and how episodes are drawn from them.

    ``pixels`` ``[held, images_per_class, 3, canvas, canvas]``, normalised as each class's data set is; ``ready``
    ``[held]`` the pool-wide ids of the classes in this order, on the CPU; ``mean`` and ``std`` ``[held, 3]``.
    ``roles`` ``fixed``: the first images of a class are always its support set, the others always queries.
    """

    MOVES: ClassVar[tuple[str, ...]] = ("pixels",)

    pixels: Tensor
    ready: Tensor
    mean: Tensor
    std: Tensor
    roles: Literal["mixed", "fixed"]

    def sample_episodes(
        self,
        episodes: int,
        *,
        ways: int,
        shots: int,
        queries: int,
        generator: torch.Generator,
        among: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Episodes of classes of any models, as :meth:`dfml.inversion.bank.ImageBank.sample_episodes` returns them.

        Gradients reach ``pixels``. Images may leave [0, 1] if they are not clipped.

        Raises:
            DfmlError: fewer classes than ways, or too few images of a class.
        """
        rows = torch.arange(len(self.ready)) if among is None else torch.isin(self.ready, among).nonzero().flatten()
        count = self.pixels.shape[1]
        if len(rows) < ways:
            raise DfmlError(f"the models have {len(rows)} classes, {ways}-way episodes need more; raise `zoo.models`")
        if count < shots + queries:
            raise DfmlError(
                f"{count} images per class cannot give {shots} shots and {queries} queries; raise "
                "`purer.images_per_class` or lower `purer.queries`"
            )
        chosen = rows[torch.rand(episodes, len(rows), generator=generator).argsort(1)[:, :ways]]
        keys = torch.rand(episodes, ways, count, generator=generator)
        if self.roles == "fixed":
            # Keys of the first images come first, whatever was drawn for them.
            keys[..., :shots] = torch.arange(shots) - float(shots)
        index = keys.argsort(2)[..., : shots + queries]
        where = send(torch.stack([chosen[..., None].expand_as(index), index]), self.pixels.device)
        mean, std = (values[where[0]][..., None, None] for values in (self.mean, self.std))
        images = self.pixels[where[0], where[1]] * std + mean
        return self.ready[chosen], images[:, :, :shots].flatten(1, 2), images[:, :, shots:].flatten(1, 2)


class DynamicSet:
    """The images with the optimiser that trains them.

    Every class is a tensor of its own to Adam, with moments and a step count of its own: a class that no loss concerns
    stays bit for bit as it is (``sparse``), or drifts on by the momentum of earlier steps as published (P3).

    Args:
        pool: whose classes the images are of.
        images_per_class: how many.
        learning_rate: of Adam, in units of the normalised images.
        clip: keep the images valid, in [0, 1] before normalisation; the published code lets them go anywhere (P6).
        sparse: see above.
        roles: see :class:`DynamicImages`.
        generator: source of the first images, N(0, 1) when normalised.
    """

    MOVES = ("images", "optimiser")

    def __init__(
        self,
        pool: Pool,
        *,
        images_per_class: int,
        learning_rate: float,
        clip: bool,
        sparse: bool,
        roles: Literal["mixed", "fixed"],
        generator: torch.Generator,
    ) -> None:
        ready = torch.tensor(sorted({label for model in pool for label in model.class_ids}))
        self.row_of = {label: row for row, label in enumerate(ready.tolist())}
        mean, std = (values[send(ready, values.device)] for values in pool.class_normalisation)
        size = (len(ready), images_per_class, 3, pool.canvas, pool.canvas)
        pixels = send(torch.randn(size, generator=generator), mean.device)
        self.images = DynamicImages(pixels, ready, mean, std, roles)
        self.sparse = sparse
        self._limits = [((edge - mean) / std)[:, None, :, None, None] for edge in (0, 1)] if clip else None
        if self._limits is not None:
            pixels.clamp_(*self._limits)
        # Views: what Adam moves is the set itself.
        self._classes = list(pixels.unbind(0))
        self.optimiser = Adam([self._classes], [learning_rate])

    def rows(self, model: PoolModel) -> list[int]:
        """Where the classes of a model are, in the order of its outputs."""
        return [self.row_of[label] for label in model.class_ids]

    def images_of(self, rows: Sequence[int]) -> Tensor:
        """A copy of the images of some rows, ``[rows, images_per_class, 3, canvas, canvas]``."""
        return torch.stack([self._classes[row] for row in rows])

    def variable(self) -> DynamicImages:
        """The same images as the leaf of a graph, for a loss of episodes drawn from them."""
        return replace(self.images, pixels=self.images.pixels.detach().requires_grad_())

    @torch.no_grad()
    def step(self, gradients: Mapping[int, Tensor]) -> None:
        """One step of Adam along the gradients ``[images_per_class, 3, canvas, canvas]``, each of one row."""
        for row, images in enumerate(self._classes):
            gradient = gradients.get(row)
            images.grad = torch.zeros_like(images) if gradient is None and not self.sparse else gradient
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self._limits is not None:
            # Images that did not move are inside already, and stay as they are.
            self.images.pixels.clamp_(*self._limits)
