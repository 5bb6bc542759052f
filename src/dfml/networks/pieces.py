"""The operations on activations that closed forms are made of (:mod:`dfml.networks.conv4_passes`).

Images are ``[B, C, H, W]``, channels last; values per channel ``[C]``; kernels ``[C, C_in, 3, 3]``.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# At so few values of a channel a convolution is faster as a product of patches with the kernel.
VALUES_OF_A_PRODUCT = 400
EPS = 1e-5  # of torch's batch norm


def statistics(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation of every channel, ``[C]``, as batch norm takes them."""
    mean, variance = torch.batch_norm_update_stats(z, None, None, 0.0)
    return mean, (variance + EPS).rsqrt()


def each_place(values: Tensor) -> Tensor:
    """Values per channel, for every image and place."""
    return values.view(-1, 1, 1)


def affine(images: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """``images`` times ``slope`` plus ``shift``, both per channel."""
    return torch.addcmul(each_place(shift), images, each_place(slope))


def sum_over_places(images: Tensor) -> Tensor:
    """``[C]``."""
    return images.sum((0, 2, 3))


def values_of_a_channel(z: Tensor) -> int:
    """How many values a channel has."""
    return z.numel() // z.shape[1]


def turned(kernel: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel and scale with the signs that make every scale positive, and the signs."""
    sign = 1 - 2 * (scale < 0).to(scale.dtype)
    return (*signed(sign, kernel, scale), sign)


def signed(sign: Tensor, kernel: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Kernel and scale times ``sign`` ``[C]``."""
    return kernel * sign.view(-1, 1, 1, 1), scale * sign


def largest_of_four(z: Tensor) -> Tensor:
    """``F.max_pool2d(z, 2)``, faster on a CPU, as it does not note where the largest was."""
    height, width = (side // 2 * 2 for side in z.shape[2:])
    rows = torch.maximum(z[..., 0:height:2, :], z[..., 1:height:2, :])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def flattened(x: Tensor, grid: int) -> Tensor:
    """Features ``[B, feature_size]`` of the last block's output, max-pooled to ``grid`` x ``grid`` places unless 0."""
    return (F.adaptive_max_pool2d(x, grid) if grid else x).flatten(1)


def patches(images: Tensor) -> Tensor:
    """The 3 × 3 patch around every place, zeros beyond the edge: ``[B · H · W, 9 · C]``, channels fastest."""
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    batch, channels, height, width = images.shape
    image, row, column, _ = padded.stride()
    windows = padded.as_strided((batch, height, width, 3, 3 * channels), (image, row, column, row, 1))
    return windows.reshape(batch * height * width, 9 * channels)


def to_convolve(images: Tensor, products: int | None = None) -> Tensor:
    """The images, or their :func:`patches` where a convolution is faster as a product of these with the kernel.

    Args:
        products: the most values of a channel at which it is one; by default ``VALUES_OF_A_PRODUCT``.
    """
    most = VALUES_OF_A_PRODUCT if products is None else products
    return patches(images) if values_of_a_channel(images) <= most else images


def convolved(x: Tensor, kernel: Tensor, like: Tensor) -> Tensor:
    """The convolution of images or patches of the batch and size of ``like``."""
    if x.ndim == 4:
        return F.conv2d(x, kernel, padding=1)
    batch, _, height, width = like.shape
    return (x @ _flat(kernel).T).view(batch, height, width, len(kernel)).permute(0, 3, 1, 2)


def _flat(kernel: Tensor) -> Tensor:
    """A kernel in the order of patches, ``[C, 9 · C_in]``."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def to_kernel(to_z: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """Gradient of the kernel from that of the convolution of ``x``, images or patches."""
    if x.ndim == 2:
        flat = to_z.permute(0, 2, 3, 1).flatten(0, 2).T @ x
        return flat.view(len(kernel), 3, 3, -1).permute(0, 3, 1, 2)
    function = _traceable() if torch.jit.is_tracing() else _kernel_gradient
    return function(to_z, x, kernel)


def _kernel_gradient(to_z: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    return torch.ops.aten.convolution_backward(
        to_z, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    )[1]


@cache
def _traceable() -> Any:
    """The tracer knows no arguments that are lists of truth values, of which a compiled function makes constants."""
    return torch.jit.script(_kernel_gradient)


def to_input(to_z: Tensor, kernel: Tensor, products: int | None = None) -> Tensor:
    """Gradient of what was convolved: a convolution with the kernel turned round, input and output exchanged."""
    turned = kernel.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return convolved(to_convolve(to_z, products), turned, to_z)


def unpooled(g: Tensor, like: Tensor, place: Tensor) -> Tensor:
    """Pooled values at the places that they came from, zero elsewhere; of the size of ``like``."""
    return torch.ops.aten.max_pool2d_with_indices_backward(g, like, [2, 2], [2, 2], [0, 0], [1, 1], False, place)


def gathered(images: Tensor, place: Tensor) -> Tensor:
    """The values at the places that were pooled."""
    return images.flatten(2).gather(2, place.flatten(2)).view_as(place)
