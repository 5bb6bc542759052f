"""Random crop and flip that gradients pass through."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.placement import channels_last, send


@dataclass(frozen=True, eq=False)
class CropFlips:
    """Shifts and flips of the images of a batch: one for each image (D = B), or one for all of them (D = 1).

    ``shift`` int64 ``[..., D, 2]`` is where the crop window lies below and to the right of the image, in pixels;
    ``flipped`` bool ``[..., D]`` whether the crop is then flipped. Leading dimensions count batches.
    """

    shift: Tensor
    flipped: Tensor

    def __getitem__(self, index: Any) -> "CropFlips":
        """Those of one batch, or of some."""
        return CropFlips(self.shift[index], self.flipped[index])

    def to(self, device: torch.device) -> "CropFlips":
        """The same on ``device``."""
        return CropFlips(send(self.shift, device), send(self.flipped, device))


def draw_crop_flips(
    *batches: int, images: int, padding: int, flip: bool, per_sample: bool, generator: torch.Generator
) -> CropFlips:
    """Draw random shifts and flips.

    Args:
        batches: Leading dimensions, none for a single batch.
        images: Images of a batch.
        padding: Largest shift in pixels; 0 for none.
        flip: Whether about half of the images are mirrored left to right.
        per_sample: Draw a shift and a flip for each image; otherwise one of each for a whole batch.
        generator: Source of randomness; the result lies on its device.
    """
    size, device = (*batches, images if per_sample else 1), generator.device
    shift = torch.randint(-padding, padding + 1, (*size, 2), generator=generator, device=device)
    flipped = torch.randint(0, 2 if flip else 1, size, generator=generator, device=device)
    return CropFlips(shift, flipped.bool())


def crop_flip(x: Tensor, crop_flips: CropFlips) -> Tensor:
    """Shift images, filling with zeros, then mirror them as ``crop_flips`` say.

    The same as padding with black, cropping to the old size and flipping. Differentiable with respect to ``x`` to any
    order.

    Args:
        x: Images ``[B, C, H, W]``, float in [0, 1], before normalisation.
        crop_flips: On the device of ``x``, ``[B, 2]`` and ``[B]``, or ``[1, 2]`` and ``[1]``.

    Returns:
        Images of the shape of ``x``.
    """
    (down, right), flipped = crop_flips.shift.unbind(-1), crop_flips.flipped
    height, width = x.shape[-2:]
    forward = _source_pixels(down, right, flipped, height, width)
    # Undoing "shift, then flip": a flip swaps the direction of the shift along the rows.
    backward = _source_pixels(-down, torch.where(flipped, right, -right), flipped, height, width)
    return _CropFlip.apply(x, forward, backward)


def _source_pixels(down: Tensor, right: Tensor, flipped: Tensor, height: int, width: int) -> Tensor:
    """For each output pixel the flat index of its source, or ``height * width`` where it lies outside.

    Args:
        down: Rows by which the crop window lies below the image, int64 ``[D]``.
        right: Columns by which it lies to the right, int64 ``[D]``.
        flipped: Whether the crop is then flipped, bool ``[D]``.

    Returns:
        int64 ``[D, height * width]``.
    """
    rows = torch.arange(height, device=down.device) + down[:, None]
    columns = torch.arange(width, device=down.device)
    columns = torch.where(flipped[:, None], width - 1 - columns, columns) + right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows[:, :, None] * width + columns[:, None, :]
    return torch.where(inside, flat, height * width).flatten(1)


class _CropFlip(torch.autograd.Function):
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
        moved = _CropFlip.apply(gradient, backward, forward)
        # The layers before it are many times as wide: in another layout each would copy its activations.
        return channels_last(moved), None, None
