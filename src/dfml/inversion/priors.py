"""What inversion by pixels knows of images beforehand: neighbours are alike, and a shift changes nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Sum of four 2-norms, each of all differences to one neighbour: right, below, and both diagonals below.

    A norm runs over the whole batch at once, as in DeepInversion (Yin et al., 2020), and so grows with the square root
    of its size.

    Args:
        images: ``[..., side, side]``.

    Returns:
        A scalar. Its gradient is zero, not undefined, where all neighbours in one direction are equal.
    """
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return right.norm() + down.norm() + falling.norm() + rising.norm()


def rolled(images: Tensor, shift: Sequence[int]) -> Tensor:
    """Images ``[..., side, side]`` moved down and right by whole pixels; what leaves comes in at the other edge."""
    down, right = shift
    return torch.roll(images, (down, right), dims=(-2, -1))
