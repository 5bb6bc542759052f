"""The values and the resolution of images: normalisation and resizing, through which gradients pass."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def normalise(x: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """``(x - mean) / std`` per channel.

    Args:
        x: ``[..., C, H, W]``, float in [0, 1].
        mean: One value per channel; also ``[..., C]``, such as one row per image.
        std: Likewise, positive.
    """
    return (x - _per_channel(mean, x)) / _per_channel(std, x)


def denormalise(x: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """The inverse of `normalise`: ``x * std + mean`` per channel of ``[..., C, H, W]``."""
    return x * _per_channel(std, x) + _per_channel(mean, x)


def _per_channel(values: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[..., None, None]


def resized(images: Tensor, side: int | None) -> Tensor:
    """Images ``[..., C, side, side]`` by antialiased bilinear interpolation; as they are if they have that side.

    None leaves them at theirs.
    """
    if side is None or images.shape[-1] == side:
        return images
    flat = images.flatten(0, -4) if images.dim() > 4 else images
    scaled = F.interpolate(flat, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return scaled.view(*images.shape[:-2], side, side)
