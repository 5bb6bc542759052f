"""Random variation of images: colours, pasted boxes, blends."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfml.compute.placement import send


def mix(images: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the images stays, a third gets a box of another image, a third is a blend with another one.

    Args:
        images: ``[n, 3, side, side]`` in [0, 1].
        generator: source of randomness (a CPU generator).

    Returns:
        Images of the same shape. Boxes cover up to the whole image at any place; blends have any weight.
    """
    count, side, device = len(images), images.shape[-1], images.device
    partner = images[send(torch.randperm(count, generator=generator), device)]
    centre = send(torch.rand(count, 2, 1, generator=generator) * side, device)
    half = send(torch.rand(count, 2, 1, generator=generator) * side / 2, device)
    weight = send(torch.rand(count, 1, 1, 1, generator=generator), device)
    kind = send(torch.randint(0, 3, (count, 1, 1, 1), generator=generator), device)
    inside = ((torch.arange(side, device=device) - centre).abs() < half).to(images.dtype)
    box = (inside[:, 0, :, None] * inside[:, 1, None, :])[:, None]
    pasted = images + box * (partner - images)
    blended = images + weight * (partner - images)
    return torch.where(kind == 0, images, torch.where(kind == 1, pasted, blended))


@dataclass(frozen=True, eq=False)
class Recolours:
    """New colours of the images of a batch. Leading dimensions count batches.

    ``order`` int64 ``[..., B, 3]`` is the channel that each channel becomes; ``contrast`` and ``offset``
    ``[..., B, 3, 1, 1]`` say how each is stretched about the middle grey, and shifted.
    """

    order: Tensor
    contrast: Tensor
    offset: Tensor

    def __getitem__(self, index: Any) -> "Recolours":
        """Those of one batch, or of some."""
        return Recolours(self.order[index], self.contrast[index], self.offset[index])

    def to(self, device: torch.device) -> "Recolours":
        """The same on ``device``."""
        return Recolours(*(send(values, device) for values in (self.order, self.contrast, self.offset)))


def draw_recolours(*batches: int, images: int, generator: torch.Generator) -> Recolours:
    """Draw new colours for each image.

    Channels keep 0.4 to 1.6 of their contrast and are shifted by up to 0.2; three images in ten are inverted.

    Args:
        batches: Leading dimensions, none for a single batch.
        images: Images of a batch.
        generator: Source of randomness (a CPU generator).
    """
    size = (*batches, images)
    order = torch.rand((*size, 3), generator=generator).argsort(-1)
    contrast = 0.4 + 1.2 * torch.rand((*size, 3, 1, 1), generator=generator)
    contrast = torch.where(torch.rand((*size, 1, 1, 1), generator=generator) < 0.3, -contrast, contrast)
    offset = 0.4 * torch.rand((*size, 3, 1, 1), generator=generator) - 0.2
    return Recolours(order, contrast, offset)


def in_colours(images: Tensor, colours: Recolours) -> Tensor:
    """Images ``[B, 3, side, side]`` in [0, 1] in new ``colours`` (on their device), clipped to [0, 1]."""
    permuted = images.gather(1, colours.order[:, :, None, None].expand_as(images))
    return ((permuted - 0.5) * colours.contrast + 0.5 + colours.offset).clamp(0, 1)


def recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Give each image new colours: `draw_recolours` and `in_colours` at once; shapes as in :func:`mix`."""
    return in_colours(images, draw_recolours(images=len(images), generator=generator).to(images.device))
