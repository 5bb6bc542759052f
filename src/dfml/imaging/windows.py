"""Random resized crops that gradients pass through."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfml.compute.placement import send

LARGEST_ASPECT = 4 / 3


@dataclass(frozen=True, eq=False)
class Windows:
    """A window into each image of a batch, and whether what it shows is mirrored.

    ``size`` and ``corner`` ``[..., B, 2]`` are the height and width of the window and the place of its upper left
    corner, in parts of the side; ``flipped`` bool ``[..., B]``. Leading dimensions count batches.
    """

    size: Tensor
    corner: Tensor
    flipped: Tensor

    def __getitem__(self, index: Any) -> "Windows":
        """The windows of one batch, or of some."""
        return Windows(self.size[index], self.corner[index], self.flipped[index])

    def to(self, device: torch.device) -> "Windows":
        """The same on ``device``."""
        return Windows(*(send(values, device) for values in (self.size, self.corner, self.flipped)))


def draw_windows(*batches: int, images: int, smallest: float, generator: torch.Generator) -> Windows:
    """Draw a window for each image: an area between ``smallest`` and 1, then a shape, a place and a flip.

    The ratio of width to height is between 3/4 and 4/3, evenly on a logarithmic scale; a side longer than the image
    is cut to it.
    """
    size = (*batches, images)
    area = smallest + (1 - smallest) * torch.rand(size, generator=generator)
    stretch = torch.exp((torch.rand(size, generator=generator) - 0.5) * math.log(LARGEST_ASPECT))
    sides = (area.sqrt()[..., None] * torch.stack([1 / stretch, stretch], -1)).clamp(max=1)
    corner = (1 - sides) * torch.rand((*size, 2), generator=generator)
    return Windows(sides, corner, torch.randint(0, 2, size, generator=generator).bool())


def look_through(x: Tensor, windows: Windows) -> Tensor:
    """What the windows show, enlarged to the size of the images by bilinear interpolation.

    Written as two products with small matrices, whose gradients, unlike those of ``grid_sample``, are repeatable on a
    GPU.

    Args:
        x: Images ``[B, C, H, W]``.
        windows: On the device of ``x``, one for each image.

    Returns:
        Images of the shape of ``x``.
    """
    height, width = (windows.size[:, axis] for axis in (0, 1))
    top, left = (windows.corner[:, axis] for axis in (0, 1))
    rows = _interpolation(top, height, x.shape[-2], x.dtype)
    columns = _interpolation(left, width, x.shape[-1], x.dtype)
    columns = torch.where(windows.flipped[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ x @ columns[:, None].mT


def _interpolation(start: Tensor, extent: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Weights of the input pixels (last dimension) for every output pixel along one axis, ``[B, side, side]``."""
    pixels = torch.arange(side, device=start.device)
    centres = (start[:, None] + extent[:, None] * (pixels + 0.5) / side) * side - 0.5
    centres = centres.clamp(0, side - 1)
    return (1 - (centres[..., None] - pixels).abs()).clamp(min=0).to(dtype)
