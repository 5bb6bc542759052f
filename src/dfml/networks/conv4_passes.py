"""Conv4 by closed forms, without autograd: its answers, the gradient of its loss, and the Hessian times a vector.

A step of fine-tuning is a pass forward and a pass backward over very few images, and a second-order meta-gradient is
one product with the Hessian for each such step. Composed by autograd these are thousands of operations on tensors so
small that starting one takes as long as its arithmetic. Here the formulas are written out, and what cancels is left
out: the bias of a convolution before a batch norm has no effect and no gradient.

A block convolves its input to z, normalises with the batch's own mean μ and reciprocal standard deviation r, scales by
γ and shifts by β, pools the largest of four and cuts at zero. Where γ ≥ 0 pooling commutes with the affine map, so it
comes first and the map is taken on a quarter of the values; where γ < 0 kernel and scale both change their sign, which
leaves the block as it is.

Per channel, with M values of z, x̂ = (z − μ) r, a = γ r, g the gradient of the pooled values after the cut, ↑ the way
from pooled values back to where they came from, and ⟨·⟩ a sum over images and space:

    ∂β = ⟨g⟩      ∂γ = ⟨g x̂⟩      ∂z = a (↑g − ∂β / M − x̂ ∂γ / M)

A dot is the derivative along a direction in the weights; with m = mean(ż) and q = mean(ż x̂):

    ṙ = −r² q      x̂˙ = r (ż − m − x̂ q)      pooled: γ̇ x̂ + γ x̂˙ + β̇
    ∂β˙ = ⟨ġ⟩      ∂γ˙ = ⟨ġ x̂ + g x̂˙⟩      ∂z˙ = (ȧ / a) ∂z + a (↑ġ − ∂β˙ / M − x̂˙ ∂γ / M − x̂ ∂γ˙ / M)

Images and activations are ``[B, C, H, W]``, channels last; values per channel ``[C]``. Every function here is of
tensors alone and may be traced (:mod:`dfml.compute.traced`), which makes plain tuples of named ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.networks.conv4 import Conv4

Weights = tuple[Tensor, ...]
"""Kernel ``[C, C_in, 3, 3]``, scale and shift ``[C]`` of each block in turn; the head's weight and bias."""

BLOCKS = 4
# At so few values of a channel a convolution is faster as a product of patches with the kernel.
VALUES_OF_A_PRODUCT = 400
EPS = 1e-5  # of torch's batch norm

_aten = torch.ops.aten


def has_closed_forms(network: nn.Module) -> bool:
    """Whether the network is a Conv4 whose batch norms take the statistics of each batch."""
    return isinstance(network, Conv4) and all(
        not module.track_running_stats for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    )


def _names() -> list[str]:
    blocks = [
        (f"blocks.{4 * i}.weight", f"blocks.{4 * i + 1}.weight", f"blocks.{4 * i + 1}.bias") for i in range(BLOCKS)
    ]
    return [name for block in blocks for name in block] + ["head.weight", "head.bias"]


NAMES = _names()


def weights_of(parameters: Mapping[str, Tensor]) -> Weights:
    """Those parameters of a Conv4 that its answers depend on."""
    return tuple(parameters[name].detach() for name in NAMES)


class Block(NamedTuple):
    """What a block remembers of its pass forward.

    Attributes:
        x: its input, or the patches of it (:func:`patches`).
        kernel, scale: with the signs that make every scale positive.
        sign: those signs, ``[C]``.
        z: the convolution.
        pooled, place: the largest of every four z, and where it was.
        mean, rstd: of z.
        slope: scale times ``rstd``.
        out: what the block answers.
    """

    x: Tensor
    kernel: Tensor
    scale: Tensor
    sign: Tensor
    z: Tensor
    pooled: Tensor
    place: Tensor
    mean: Tensor
    rstd: Tensor
    slope: Tensor
    out: Tensor


class Forward(NamedTuple):
    """Logits ``[B, ways]``, features ``[B, feature_size]`` and what the blocks remember."""

    logits: Tensor
    features: Tensor
    blocks: tuple[Block, ...]


class BlockGradient(NamedTuple):
    """Gradients at a block: of its pooled values after the cut, of z, of its shift and of its scale."""

    pooled: Tensor
    z: Tensor
    shift: Tensor
    scale: Tensor


class Backward(NamedTuple):
    """The gradient of the mean cross-entropy with respect to the weights, and what :func:`hessian_product` needs."""

    loss: Tensor
    gradient: Weights
    softmax: Tensor
    error: Tensor
    blocks: tuple[BlockGradient, ...]


def forward(images: Tensor, given: Tensor, weights: Weights, *, pool: bool = False) -> Forward:
    """One pass over images.

    Args:
        images: normalised.
        given: the images once more, or their :func:`patches`, which pay where many passes are over the same ones.
        weights: of the network.
        pool: the network takes any resolution, by a global maximum at its end.
    """
    blocks: list[Block] = []
    x = images
    for number in range(BLOCKS):
        if number:
            given = patches(x) if _is_small(x) else x
        blocks.append(_block(x, given, *weights[3 * number : 3 * number + 3]))
        x = blocks[-1].out
    features = _features(x, pool)
    return Forward(torch.addmm(weights[-1], features, weights[-2].T), features, tuple(blocks))


def _block(x: Tensor, given: Tensor, kernel: Tensor, scale: Tensor, shift: Tensor) -> Block:
    kernel, scale, sign = _turned(kernel, scale)
    z = _convolved(given, kernel, x)
    mean, rstd = statistics(z)
    pooled, place = F.max_pool2d(z, 2, return_indices=True)
    slope = scale * rstd
    out = _affine(pooled, slope, torch.addcmul(shift, slope, mean, value=-1)).relu_()
    return Block(given, kernel, scale, sign, z, pooled, place, mean, rstd, slope, out)


def backward(state: Forward, labels: Tensor, weights: Weights, *, pool: bool = False) -> Backward:
    """Mean cross-entropy of the answers and its gradient; ``labels`` ``[B]``, the rest as given to :func:`forward`."""
    state = Forward(*state)
    found: list[Tensor] = []
    blocks: list[BlockGradient] = []
    log_softmax = state.logits.log_softmax(1)
    one_hot = F.one_hot(labels, state.logits.shape[1]).to(log_softmax.dtype)
    loss = -(log_softmax * one_hot).sum() / len(labels)
    softmax = log_softmax.exp()
    error = (softmax - one_hot) / len(labels)
    g = _to_images(error @ weights[-2], state, pool)
    for number in reversed(range(BLOCKS)):
        block = Block(*state.blocks[number])
        g = _aten.threshold_backward(g, block.out, 0)
        to_shift = _sum(g)
        to_scale = torch.addcmul(_sum(g * block.pooled), block.mean, to_shift, value=-1).mul_(block.rstd)
        of_all = block.slope / -_values(block.z)
        of_z = of_all * block.rstd * to_scale
        to_z = _unpooled(g * _each(block.slope), block)
        to_z.addcmul_(block.z, _each(of_z)).add_(_each((of_all * to_shift).addcmul_(of_z, block.mean, value=-1)))
        found[:0] = [*_signed(block.sign, _to_kernel(to_z, block.x, block.kernel), to_scale), to_shift]
        blocks.insert(0, BlockGradient(g, to_z, to_shift, to_scale))
        if number:
            g = _to_input(to_z, block.kernel)
    return Backward(loss, (*found, error.T @ state.features, error.sum(0)), softmax, error, tuple(blocks))


class _Moved(NamedTuple):
    """What a block's pass along a direction leaves for the way back; see the module's formulas."""

    kernel: Tensor
    scale: Tensor
    x: Tensor | None
    z: Tensor
    m: Tensor
    q: Tensor
    normal: Tensor
    of_normal: Tensor


def hessian_product(
    state: Forward, back: Backward, weights: Weights, direction: Weights, *, pool: bool = False
) -> Weights:
    """The Hessian of the mean cross-entropy with respect to the weights, times ``direction``."""
    state, back = Forward(*state), Backward(*back)
    kept: list[_Moved] = []
    x: Tensor | None = None
    for number in range(BLOCKS):
        block = Block(*state.blocks[number])
        kernel, scale, shift = direction[3 * number : 3 * number + 3]
        kernel, scale = _signed(block.sign, kernel, scale)
        z = _convolved(block.x, kernel, block.z)
        if x is not None:
            given = patches(x) if _is_small(x) else x
            z += _convolved(given, block.kernel, block.z)
        m = _sum(z) / _values(z)
        q = block.rstd * (_sum(z * block.z) / _values(z) - block.mean * m)
        normal = _affine(block.pooled, block.rstd, -block.rstd * block.mean)
        of_normal = _affine(_gathered(z, block), block.rstd, -block.rstd * m).sub_(normal * _each(block.rstd * q))
        out = torch.addcmul(_each(shift), normal, _each(scale)).addcmul_(of_normal, _each(block.scale))
        kept.append(_Moved(kernel, scale, None if x is None else given, z, m, q, normal, of_normal))
        x = _aten.threshold_backward(out, block.out, 0)
    assert x is not None
    features = _features_along(x, state, pool)
    logits = torch.addmm(direction[-1], state.features, direction[-2].T).addmm_(features, weights[-2].T)
    error = back.softmax * (logits - (back.softmax * logits).sum(1, keepdim=True)) / len(logits)
    to_head = error.T @ state.features + back.error.T @ features
    found: list[Tensor] = []
    g = _to_images(error @ weights[-2] + back.error @ direction[-2], state, pool)
    for number in reversed(range(BLOCKS)):
        block, gradient, own = Block(*state.blocks[number]), BlockGradient(*back.blocks[number]), kept[number]
        g = _aten.threshold_backward(g, block.out, 0)
        to_shift = _sum(g)
        to_scale = _sum((g * own.normal).addcmul_(gradient.pooled, own.of_normal))
        of_all = block.slope / -_values(block.z)
        of_moved = of_all * block.rstd * gradient.scale
        of_z = of_all * block.rstd * (to_scale - block.rstd * own.q * gradient.scale)
        slope = own.scale * block.rstd - block.slope * block.rstd * own.q
        of_gradient = torch.where(block.slope == 0, torch.zeros_like(slope), slope / block.slope)
        to_z = _unpooled(g * _each(block.slope), block)
        to_z.addcmul_(own.z, _each(of_moved)).addcmul_(block.z, _each(of_z))
        to_z.addcmul_(gradient.z, _each(of_gradient))
        to_z.add_(_each(of_all * to_shift - of_moved * own.m - of_z * block.mean))
        to_kernel = _to_kernel(to_z, block.x, block.kernel)
        if own.x is not None:
            to_kernel += _to_kernel(gradient.z, own.x, block.kernel)
            g = _to_input(to_z, block.kernel).add_(_to_input(gradient.z, own.kernel))
        found[:0] = [*_signed(block.sign, to_kernel, to_scale), to_shift]
    return (*found, to_head, error.sum(0))


def features_by_statistics(
    images: Tensor, weights: Weights, *, support: int, together: bool, pool: bool = False
) -> tuple[Tensor, Tensor]:
    """Features of support and query images under the two sources of statistics (F21); the first convolution is shared.

    Args:
        images: normalised, those of the support set first.
        weights: of the network.
        support: how many they are.
        together: the other statistics are those of all images; otherwise of the queries alone.
        pool: as in :func:`forward`.

    Returns:
        Features of all images under the statistics of the support set, and of all images or of the queries under those
        that ``together`` names.
    """
    kernel, scale, _ = _turned(*weights[:2])
    z = F.conv2d(images, kernel, padding=1)
    pooled = F.max_pool2d(z, 2)
    first = 0 if together else support
    by_support = _passed(pooled, statistics(z[:support]), scale, weights, support, pool)
    return by_support, _passed(pooled[first:], statistics(z[first:]), scale, weights, None, pool)


def _passed(
    pooled: Tensor, own: tuple[Tensor, Tensor], scale: Tensor, weights: Weights, support: int | None, pool: bool
) -> Tensor:
    """Features, from the first convolution pooled and its statistics; ``support``: the images that later ones use."""
    x = _scaled(pooled, own, scale, weights[2])
    for number in range(1, BLOCKS):
        kernel, scale, _ = _turned(*weights[3 * number : 3 * number + 2])
        z = F.conv2d(x, kernel, padding=1)
        x = _scaled(F.max_pool2d(z, 2), statistics(z[:support]), scale, weights[3 * number + 2])
    return _features(x, pool)


def _scaled(pooled: Tensor, own: tuple[Tensor, Tensor], scale: Tensor, shift: Tensor) -> Tensor:
    mean, rstd = own
    slope = scale * rstd
    return _affine(pooled, slope, torch.addcmul(shift, slope, mean, value=-1)).relu_()


def statistics(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation of every channel, ``[C]``, as batch norm takes them."""
    mean, variance = torch.batch_norm_update_stats(z, None, None, 0.0)
    return mean, (variance + EPS).rsqrt()


def _turned(kernel: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel and scale with the signs that make every scale positive, and the signs."""
    sign = 1 - 2 * (scale < 0).to(scale.dtype)
    return (*_signed(sign, kernel, scale), sign)


def _signed(sign: Tensor, kernel: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return kernel * sign.view(-1, 1, 1, 1), scale * sign


def _each(values: Tensor) -> Tensor:
    """Values per channel, for every image and place."""
    return values.view(-1, 1, 1)


def _affine(images: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(_each(shift), images, _each(slope))


def _sum(images: Tensor) -> Tensor:
    return images.sum((0, 2, 3))


def _values(z: Tensor) -> int:
    """How many values a channel has."""
    return z.numel() // z.shape[1]


def _features(x: Tensor, pool: bool) -> Tensor:
    return (F.adaptive_max_pool2d(x, 1) if pool else x).flatten(1)


def _features_along(x: Tensor, state: Forward, pool: bool) -> Tensor:
    """The derivative of the features, from that of the last block's output."""
    if not pool:
        return x.flatten(1)
    return x.flatten(2).gather(2, _largest(state)).squeeze(2)


def _to_images(features: Tensor, state: Forward, pool: bool) -> Tensor:
    """Gradients by feature ``[B, feature_size]`` at the output of the last block."""
    last = Block(*state.blocks[-1]).out
    if pool:
        features = torch.zeros_like(last.flatten(2)).scatter(2, _largest(state), features[:, :, None])
    return features.view(last.shape).contiguous(memory_format=torch.channels_last)


def _largest(state: Forward) -> Tensor:
    """Where the global maximum of the last block's output is, ``[B, C, 1]``."""
    return Block(*state.blocks[-1]).out.flatten(2).max(2, keepdim=True).indices


def patches(images: Tensor) -> Tensor:
    """The 3 × 3 patch around every place, zeros beyond the edge: ``[B · H · W, 9 · C]``, channels fastest."""
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    batch, channels, height, width = images.shape
    image, row, column, _ = padded.stride()
    windows = padded.as_strided((batch, height, width, 3, 3 * channels), (image, row, column, row, 1))
    return windows.reshape(batch * height * width, 9 * channels)


def _is_small(images: Tensor) -> bool:
    return _values(images) <= VALUES_OF_A_PRODUCT


def _convolved(x: Tensor, kernel: Tensor, like: Tensor) -> Tensor:
    """The convolution of images or patches of the batch and size of ``like``."""
    if x.ndim == 4:
        return F.conv2d(x, kernel, padding=1)
    batch, _, height, width = like.shape
    return (x @ _flat(kernel).T).view(batch, height, width, len(kernel)).permute(0, 3, 1, 2)


def _flat(kernel: Tensor) -> Tensor:
    """A kernel in the order of patches, ``[C, 9 · C_in]``."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _to_kernel(to_z: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
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


def _to_input(to_z: Tensor, kernel: Tensor) -> Tensor:
    """Gradient of what was convolved: a convolution with the kernel turned round, input and output exchanged."""
    turned = kernel.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return _convolved(patches(to_z) if _is_small(to_z) else to_z, turned, to_z)


def _unpooled(g: Tensor, block: Block) -> Tensor:
    """Pooled values at the places they came from, zero elsewhere."""
    return _aten.max_pool2d_with_indices_backward(g, block.z, [2, 2], [2, 2], [0, 0], [1, 1], False, block.place)


def _gathered(images: Tensor, block: Block) -> Tensor:
    """The values at the places that were pooled."""
    return images.flatten(2).gather(2, block.place.flatten(2)).view_as(block.place)
