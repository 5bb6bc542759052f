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
tensors alone and may be traced (:mod:`dfml.compute.traced`), which makes plain tuples of named ones, or be inside
``vmap``, within :class:`dfml.networks.batching_rules.MissingRules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.networks.conv4 import Conv4
from dfml.networks.pieces import (
    affine,
    convolved,
    each_place,
    flattened,
    gathered,
    signed,
    statistics,
    sum_over_places,
    to_convolve,
    to_input,
    to_kernel,
    turned,
    unpooled,
    values_of_a_channel,
)

Weights = tuple[Tensor, ...]
"""Kernel ``[C, C_in, 3, 3]``, scale and shift ``[C]`` of each block in turn; the head's weight and bias."""

BLOCKS = 4

_aten = torch.ops.aten


def has_closed_forms(network: nn.Module) -> bool:
    """Whether the network is a Conv4, not derived from it, whose batch norms take the statistics of each batch."""
    return type(network) is Conv4 and all(
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
        mean, rstd, slope: of z; the last is scale times ``rstd``.
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


def forward(images: Tensor, given: Tensor, weights: Weights, *, grid: int = 0, products: int | None = None) -> Forward:
    """One pass over images.

    Args:
        images: normalised.
        given: the images once more, or their :func:`patches`, which pay where many passes are over the same ones.
        weights: of the network.
        grid: the network takes any resolution, as it max-pools to so many rows and columns at its end; 0: it does not.
        products: see :func:`to_convolve`; the same in all passes of a step.
    """
    blocks: list[Block] = []
    x = images
    for number in range(BLOCKS):
        if number:
            given = to_convolve(x, products)
        blocks.append(_block(x, given, *weights[3 * number : 3 * number + 3]))
        x = blocks[-1].out
    features = flattened(x, grid)
    return Forward(torch.addmm(weights[-1], features, weights[-2].T), features, tuple(blocks))


def _block(x: Tensor, given: Tensor, kernel: Tensor, scale: Tensor, shift: Tensor) -> Block:
    kernel, scale, sign = turned(kernel, scale)
    z = convolved(given, kernel, x)
    mean, rstd = statistics(z)
    pooled, place = F.max_pool2d(z, 2, return_indices=True)
    slope = scale * rstd
    out = affine(pooled, slope, torch.addcmul(shift, slope, mean, value=-1)).relu_()
    return Block(given, kernel, scale, sign, z, pooled, place, mean, rstd, slope, out)


def backward(
    state: Forward, labels: Tensor, weights: Weights, *, grid: int = 0, products: int | None = None
) -> Backward:
    """Mean cross-entropy of the answers and its gradient; ``labels`` ``[B]``, the rest as given to :func:`forward`."""
    state = Forward(*state)
    log_softmax = state.logits.log_softmax(1)
    one_hot = F.one_hot(labels, state.logits.shape[1]).to(log_softmax.dtype)
    loss = -(log_softmax * one_hot).sum() / len(labels)
    softmax = log_softmax.exp()
    error = (softmax - one_hot) / len(labels)
    gradient, blocks = backward_from(state, error, weights, grid=grid, products=products)
    return Backward(loss, gradient, softmax, error, blocks)


def backward_from(
    state: Forward, error: Tensor, weights: Weights, *, grid: int = 0, products: int | None = None
) -> tuple[Weights, tuple[BlockGradient, ...]]:
    """The gradient of a loss with respect to the weights, from ``error``, that with respect to the logits."""
    state = Forward(*state)
    found: list[Tensor] = []
    blocks: list[BlockGradient] = []
    g = _to_images(error @ weights[-2], state, grid)
    for number in reversed(range(BLOCKS)):
        block = Block(*state.blocks[number])
        g = _aten.threshold_backward(g, block.out, 0)
        to_shift = sum_over_places(g)
        to_scale = torch.addcmul(sum_over_places(g * block.pooled), block.mean, to_shift, value=-1).mul_(block.rstd)
        of_all = block.slope / -values_of_a_channel(block.z)
        of_z = of_all * block.rstd * to_scale
        to_z = unpooled(g * each_place(block.slope), block.z, block.place)
        to_z = to_z.addcmul_(block.z, each_place(of_z)).add_(
            each_place((of_all * to_shift).addcmul_(of_z, block.mean, value=-1))
        )
        found[:0] = [*signed(block.sign, to_kernel(to_z, block.x, block.kernel), to_scale), to_shift]
        blocks.insert(0, BlockGradient(g, to_z, to_shift, to_scale))
        if number:
            g = to_input(to_z, block.kernel, products)
    return (*found, error.T @ state.features, error.sum(0)), tuple(blocks)


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
    state: Forward,
    back: Backward,
    weights: Weights,
    direction: Weights,
    *,
    grid: int = 0,
    products: int | None = None,
) -> Weights:
    """The Hessian of the mean cross-entropy with respect to the weights, times ``direction``."""
    state, back = Forward(*state), Backward(*back)
    kept: list[_Moved] = []
    x: Tensor | None = None
    for number in range(BLOCKS):
        block = Block(*state.blocks[number])
        kernel, scale, shift = direction[3 * number : 3 * number + 3]
        kernel, scale = signed(block.sign, kernel, scale)
        z = convolved(block.x, kernel, block.z)
        if x is not None:
            given = to_convolve(x, products)
            z += convolved(given, block.kernel, block.z)
        m = sum_over_places(z) / values_of_a_channel(z)
        q = block.rstd * (sum_over_places(z * block.z) / values_of_a_channel(z) - block.mean * m)
        normal = affine(block.pooled, block.rstd, -block.rstd * block.mean)
        of_normal = affine(gathered(z, block.place), block.rstd, -block.rstd * m).sub_(
            normal * each_place(block.rstd * q)
        )
        out = torch.addcmul(each_place(shift), normal, each_place(scale)).addcmul_(of_normal, each_place(block.scale))
        kept.append(_Moved(kernel, scale, None if x is None else given, z, m, q, normal, of_normal))
        x = _aten.threshold_backward(out, block.out, 0)
    assert x is not None
    features = _features_along(x, state, grid)
    logits = torch.addmm(direction[-1], state.features, direction[-2].T).addmm_(features, weights[-2].T)
    error = back.softmax * (logits - (back.softmax * logits).sum(1, keepdim=True)) / len(logits)
    to_head = error.T @ state.features + back.error.T @ features
    found: list[Tensor] = []
    g = _to_images(error @ weights[-2] + back.error @ direction[-2], state, grid)
    for number in reversed(range(BLOCKS)):
        block, gradient, own = Block(*state.blocks[number]), BlockGradient(*back.blocks[number]), kept[number]
        g = _aten.threshold_backward(g, block.out, 0)
        to_shift = sum_over_places(g)
        to_scale = sum_over_places((g * own.normal).addcmul_(gradient.pooled, own.of_normal))
        of_all = block.slope / -values_of_a_channel(block.z)
        of_moved = of_all * block.rstd * gradient.scale
        of_z = of_all * block.rstd * (to_scale - block.rstd * own.q * gradient.scale)
        slope = own.scale * block.rstd - block.slope * block.rstd * own.q
        of_gradient = torch.where(block.slope == 0, torch.zeros_like(slope), slope / block.slope)
        to_z = unpooled(g * each_place(block.slope), block.z, block.place)
        to_z = to_z.addcmul_(own.z, each_place(of_moved)).addcmul_(block.z, each_place(of_z))
        to_z = to_z.addcmul_(gradient.z, each_place(of_gradient))
        to_z = to_z.add_(each_place(of_all * to_shift - of_moved * own.m - of_z * block.mean))
        of_kernel = to_kernel(to_z, block.x, block.kernel)
        if own.x is not None:
            of_kernel += to_kernel(gradient.z, own.x, block.kernel)
            g = to_input(to_z, block.kernel, products).add_(to_input(gradient.z, own.kernel, products))
        found[:0] = [*signed(block.sign, of_kernel, to_scale), to_shift]
    return (*found, to_head, error.sum(0))


def _features_along(x: Tensor, state: Forward, grid: int) -> Tensor:
    """The derivative of the features, from that of the last block's output."""
    return gathered(x, _largest(state, grid)).flatten(1) if grid else x.flatten(1)


def _to_images(features: Tensor, state: Forward, grid: int) -> Tensor:
    """Gradients by feature ``[B, feature_size]`` at the output of the last block."""
    last = Block(*state.blocks[-1]).out
    if grid:
        place = _largest(state, grid).flatten(2)  # of two cells that overlap it may be one place
        features = torch.zeros_like(last.flatten(2)).scatter_add(2, place, features.view(place.shape))
    return features.view(last.shape).contiguous(memory_format=torch.channels_last)


def _largest(state: Forward, grid: int) -> Tensor:
    """Where the maxima of the last block's output are, ``[B, C, grid, grid]``."""
    return F.adaptive_max_pool2d(Block(*state.blocks[-1]).out, grid, return_indices=True)[1]
