"""Small random turns, scalings and shifts of images."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.compute.placement import send


@dataclass(frozen=True, eq=False)
class Affines:
    """Where each image of a batch is looked at.

    ``matrix`` ``[..., B, 2, 3]`` takes a place (x, y, 1) of the result to one of the image, both from -1 to 1. Leading
    dimensions count batches.
    """

    matrix: Tensor

    def __getitem__(self, index: Any) -> "Affines":
        """Those of one batch, or of some."""
        return Affines(self.matrix[index])

    def to(self, device: torch.device) -> "Affines":
        """The same on ``device``."""
        return Affines(send(self.matrix, device))


def draw_affines(
    *batches: int, images: int, turn: float, scale: float, shift: float, generator: torch.Generator
) -> Affines:
    """Draw a turn, a scaling and a shift for each image.

    Args:
        batches: Leading dimensions, none for a single batch.
        images: Images of a batch.
        turn: Largest angle either way, in radians.
        scale: Largest factor of enlarging and of shrinking, evenly between on a logarithmic scale; 1 for none.
        shift: Largest shift along each axis, in parts of the side.
        generator: Source of randomness (a CPU generator).
    """

    def evenly(*shape: int) -> Tensor:
        return 2 * torch.rand((*batches, images, *shape), generator=generator) - 1

    angle = turn * evenly()
    size = torch.exp(math.log(scale) * evenly())
    # Places go from -1 to 1, so the side is 2.
    moved = 2 * shift * evenly(2)
    cosine, sine = angle.cos() / size, angle.sin() / size
    turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    return Affines(torch.cat([turned, moved[..., None]], -1))


def look_at(images: Tensor, affines: Affines) -> Tensor:
    """Images ``[B, C, H, W]`` turned, scaled and shifted, between pixels by bilinear interpolation.

    What lies outside an image is the pixel nearest to it on the edge: black corners would tell of nothing in the class.
    Not for gradients, which PyTorch adds up in any order on a GPU.
    """
    grid = F.affine_grid(affines.matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
