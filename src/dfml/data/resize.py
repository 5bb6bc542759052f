"""Changing the resolution of images so that gradients pass through."""

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, side: int) -> Tensor:
    """Images ``[..., C, side, side]`` by antialiased bilinear interpolation; as they are if they have that side."""
    if images.shape[-1] == side:
        return images
    flat = images.flatten(0, -4) if images.dim() > 4 else images
    scaled = F.interpolate(flat, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return scaled.view(*images.shape[:-2], side, side)
