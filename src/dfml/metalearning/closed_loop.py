"""The inner loop of MAML on a Conv4 by closed forms: what :mod:`dfml.metalearning.inner_loop` does by autograd.

On a CPU for one episode at a time, traced. On a GPU one of the forms that :mod:`dfml.metalearning.episode_forms`
chooses from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.compute.traced import Traced
from dfml.networks.conv4 import Conv4
from dfml.networks.conv4_passes import (
    BLOCKS,
    Backward,
    Forward,
    Weights,
    backward,
    forward,
    has_closed_forms,
    hessian_product,
)
from dfml.networks.pieces import affine, flattened, largest_of_four, patches, statistics, to_convolve, turned


def can_loop(network: nn.Module, device: torch.device) -> bool:
    """Whether a network has closed forms and is where they pay episode by episode; a GPU takes all at once."""
    return device.type == "cpu" and has_closed_forms(network)


def grid_of(network: nn.Module) -> int:
    """To how many rows and columns a network for any resolution max-pools its last map; 0 of one for a single side."""
    return network.grid if isinstance(network, Conv4) else 0


def fine_tuned(
    images: Tensor,
    labels: Tensor,
    weights: Weights,
    *,
    steps: int,
    learning_rate: float,
    grid: int,
    products: int | None = None,
) -> Weights:
    """The weights after gradient steps on a support set.

    Args:
        images: normalised, ``[ways · shots, 3, side, side]``, channels last.
        labels: ``[ways · shots]``.
        weights: where the steps start; unchanged.
        steps, learning_rate: of the inner loop.
        grid: see :func:`grid_of`.
        products: as in :func:`dfml.networks.pieces.to_convolve`. Given, nothing is traced: inside ``vmap`` nothing can
            be, and on a GPU a recorded CUDA graph does as much.
    """
    given = _support_given(images, products)
    for _ in range(steps):
        weights = _as(_stepped, stepped, products)(
            images, given, labels, weights, learning_rate=learning_rate, grid=grid
        )
    return weights


def episode_gradient(
    support: Tensor,
    support_labels: Tensor,
    query: Tensor,
    query_labels: Tensor,
    weights: Weights,
    *,
    steps: int,
    learning_rate: float,
    first_order: bool,
    grid: int,
    products: int | None = None,
) -> tuple[Tensor, Tensor, Weights]:
    """Query loss and accuracy (a fraction) after fine-tuning, and the gradient of the former at ``weights``.

    Args:
        support, query: normalised images ``[ways · shots, 3, side, side]`` and ``[ways · queries, …]``, channels last.
        support_labels, query_labels: of each of them.
        weights, steps, learning_rate, grid: as in :func:`fine_tuned`.
        first_order: leave the second derivatives out (F43).
        products: as in :func:`fine_tuned`.
    """
    taken: list[tuple[Weights, Step]] = []
    inner: dict[str, Any] = {"learning_rate": learning_rate, "grid": grid}
    if first_order:
        weights = fine_tuned(support, support_labels, weights, steps=steps, products=products, **inner)
    else:
        given = _support_given(support, products)
        for _ in range(steps):
            step = _as(_step, one_step, products)(support, given, support_labels, weights, **inner)
            taken.append((weights, step))
            weights = step[0]
    loss, accuracy, gradient = _as(_judged, judged, products)(query, query_labels, weights, grid=grid)
    for before, step in reversed(taken):
        gradient = _as(_step_back, step_back, products)(step, before, gradient, **inner)
    return loss, accuracy, gradient


class Step(NamedTuple):
    """The weights after a gradient step, and the passes that gave it."""

    weights: Weights
    state: Forward
    back: Backward


def _as(traced: Traced, plain: Callable[..., Any], products: int | None) -> Callable[..., Any]:
    """The form of a function that ``products`` asks for, see :func:`fine_tuned`."""
    return traced if products is None else partial(plain, products=products)


def _support_given(support: Tensor, products: int | None) -> Tensor:
    """Support images for the first convolution of every step, see :func:`dfml.networks.conv4_passes.forward`."""
    return patches(support) if products is None else to_convolve(support, products)


def one_step(
    images: Tensor,
    given: Tensor,
    labels: Tensor,
    weights: Weights,
    *,
    learning_rate: float,
    grid: int,
    products: int | None = None,
) -> Step:
    """One gradient step on the mean cross-entropy; ``given``: the images or their patches."""
    state = forward(images, given, weights, grid=grid, products=products)
    back = backward(state, labels, weights, grid=grid, products=products)
    return Step(_moved(weights, back.gradient, learning_rate), state, back)


def stepped(images: Tensor, given: Tensor, labels: Tensor, weights: Weights, **options: Any) -> Weights:
    """The weights of :func:`one_step` alone, which says the arguments."""
    return one_step(images, given, labels, weights, **options).weights


def step_back(
    step: Step, before: Weights, gradient: Weights, *, learning_rate: float, grid: int, products: int | None = None
) -> Weights:
    """From the gradient with respect to the weights after a step that with respect to those ``before``."""
    _, state, back = step
    product = hessian_product(state, back, before, gradient, grid=grid, products=products)
    return _moved(gradient, product, learning_rate)


def judged(
    images: Tensor, labels: Tensor, weights: Weights, *, grid: int, products: int | None = None
) -> tuple[Tensor, Tensor, Weights]:
    """Mean cross-entropy and accuracy, scalars, and the gradient of the former."""
    given = images if products is None else to_convolve(images, products)
    state = forward(images, given, weights, grid=grid, products=products)
    back = backward(state, labels, weights, grid=grid, products=products)
    return back.loss, (state.logits.argmax(1) == labels).float().mean(), back.gradient


def _moved(weights: Weights, direction: Weights, rate: float) -> Weights:
    return tuple(torch.sub(own, along, alpha=rate) for own, along in zip(weights, direction, strict=True))


def features_by_statistics(
    images: Tensor, weights: Weights, *, support: int, together: bool, grid: int
) -> tuple[Tensor, Tensor]:
    """Features of support and query images under the two sources of statistics (F21); the first convolution is shared.

    Args:
        images: normalised, those of the support set first.
        weights: of the network.
        support: how many they are.
        together: the other statistics are those of all images; otherwise of the queries alone.
        grid: see :func:`grid_of`.

    Returns:
        Features of all images under the statistics of the support set, and of all images or of the queries under those
        that ``together`` names.
    """
    kernel, scale, _ = turned(*weights[:2])
    z = F.conv2d(images, kernel, padding=1)
    pooled = largest_of_four(z)
    first = 0 if together else support
    by_support = _passed(pooled, statistics(z[:support]), scale, weights, support, grid)
    return by_support, _passed(pooled[first:], statistics(z[first:]), scale, weights, None, grid)


def _passed(
    pooled: Tensor, own: tuple[Tensor, Tensor], scale: Tensor, weights: Weights, support: int | None, grid: int
) -> Tensor:
    """Features, from the first convolution pooled and its statistics; ``support``: the images that later ones use."""
    x = _scaled(pooled, own, scale, weights[2])
    for number in range(1, BLOCKS):
        kernel, scale, _ = turned(*weights[3 * number : 3 * number + 2])
        z = F.conv2d(x, kernel, padding=1)
        x = _scaled(largest_of_four(z), statistics(z[:support]), scale, weights[3 * number + 2])
    return flattened(x, grid)


def _scaled(pooled: Tensor, own: tuple[Tensor, Tensor], scale: Tensor, shift: Tensor) -> Tensor:
    mean, rstd = own
    slope = scale * rstd
    return affine(pooled, slope, torch.addcmul(shift, slope, mean, value=-1)).relu_()


_step, _stepped, _step_back, _judged = Traced(one_step), Traced(stepped), Traced(step_back), Traced(judged)
both_features = Traced(features_by_statistics)
