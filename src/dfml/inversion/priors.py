"""What natural images have in common: neighbouring pixels are alike, and a small shift changes nothing."""

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Sum of the 2-norms of the differences to the right, lower, lower right and lower left neighbour, a scalar.

    Each norm runs over the whole batch ``[B, C, H, W]`` (DeepInversion; baselines §5.2, §8).
    """
    upper, lower = images[..., :-1, :], images[..., 1:, :]
    right = images[..., 1:] - images[..., :-1]
    down = lower - upper
    falling = lower[..., 1:] - upper[..., :-1]
    rising = lower[..., :-1] - upper[..., 1:]
    return right.norm() + down.norm() + falling.norm() + rising.norm()


def rolled(images: Tensor, shift: tuple[int, int]) -> Tensor:
    """Images ``[..., H, W]`` moved down and right by ``shift`` pixels; what leaves on one side enters on the other."""
    return torch.roll(images, shift, (-2, -1))
