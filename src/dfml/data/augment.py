"""Random crop and flip that gradients pass through, and normalisation."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop_flip(x: Tensor, *, padding: int, flip: bool, per_sample: bool, generator: torch.Generator) -> Tensor:
    """Shift images by up to ``padding`` pixels, filling with zeros, and mirror about half of them.

    The same as padding with black, cropping to the old size at a random place and flipping. Differentiable
    with respect to ``x`` to any order; the same generator state gives the same bits.

    Args:
        x: Images ``[B, C, H, W]``, float in [0, 1], before normalisation.
        padding: Largest shift in pixels; 0 for none.
        flip: Whether images are mirrored left to right at random.
        per_sample: Draw a shift and a flip for each image; otherwise one of each for the whole batch.
        generator: Source of randomness; its device may differ from that of ``x``.

    Returns:
        Images of the shape of ``x``.
    """
    draws = x.shape[0] if per_sample else 1
    device = generator.device
    shift = torch.randint(-padding, padding + 1, (2, draws), generator=generator, device=device)
    if flip:
        mirrored = torch.randint(0, 2, (draws,), generator=generator, device=device).bool()
    else:
        mirrored = torch.zeros(draws, dtype=torch.bool, device=device)
    shift, mirrored = shift.to(x.device), mirrored.to(x.device)
    down, right = shift[0], shift[1]
    height, width = x.shape[-2:]
    forward = _source_pixels(down, right, mirrored, height, width)
    # Undoing "shift, then flip": a flip swaps the direction of the shift along the rows.
    backward = _source_pixels(-down, torch.where(mirrored, right, -right), mirrored, height, width)
    return _Move.apply(x, forward, backward)


def _source_pixels(down: Tensor, right: Tensor, mirrored: Tensor, height: int, width: int) -> Tensor:
    """For each output pixel the flat index of its source, or ``height * width`` where it lies outside.

    Args:
        down: Rows by which the crop window lies below the image, int64 ``[D]``.
        right: Columns by which it lies to the right, int64 ``[D]``.
        mirrored: Whether the crop is then flipped, bool ``[D]``.

    Returns:
        int64 ``[D, height * width]``.
    """
    rows = torch.arange(height, device=down.device) + down[:, None]
    columns = torch.arange(width, device=down.device)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows[:, :, None] * width + columns[:, None, :]
    return torch.where(inside, flat, height * width).flatten(1)


class _Move(torch.autograd.Function):
    """Take pixels by index. Every pixel is used at most once, so the gradient is a gather as well.

    That is what makes it quick and, on a GPU, free of the unordered additions of a scatter.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        flat = F.pad(x.flatten(2), (0, 1))
        index = forward[:, None].expand(x.shape[0], x.shape[1], -1)
        return flat.gather(2, index).view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        forward, backward = ctx.saved_tensors
        return _Move.apply(gradient, backward, forward), None, None


def normalise(x: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """``(x - mean) / std`` per channel.

    Args:
        x: ``[..., C, H, W]``, float in [0, 1].
        mean: One value per channel.
        std: One positive value per channel.
    """
    return (x - _per_channel(mean, x)) / _per_channel(std, x)


def denormalise(x: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """The inverse of `normalise`: ``x * std + mean`` per channel of ``[..., C, H, W]``."""
    return x * _per_channel(std, x) + _per_channel(mean, x)


def _per_channel(values: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
