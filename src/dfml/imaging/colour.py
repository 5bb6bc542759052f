"""Random variation of images: colours, pasted boxes, blends."""

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


def recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Permute the colour channels of each image and change the contrast and offset of each channel.

    Channels keep 0.4 to 1.6 of their contrast, are shifted by up to 0.2, and three images in ten are inverted; the
    result is clipped to [0, 1]. Shapes as in :func:`mix`.
    """
    count, device = len(images), images.device
    order = send(torch.rand(count, 3, generator=generator).argsort(1), device)
    permuted = images.gather(1, order[:, :, None, None].expand_as(images))
    contrast = 0.4 + 1.2 * torch.rand(count, 3, 1, 1, generator=generator)
    contrast = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.3, -contrast, contrast)
    offset = 0.4 * torch.rand(count, 3, 1, 1, generator=generator) - 0.2
    return ((permuted - 0.5) * send(contrast, device) + 0.5 + send(offset, device)).clamp(0, 1)
