"""The inner loop of MAML: one functional adaptation, used in training, evaluation and by users."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad

from dfml.metalearning import closed_loop
from dfml.networks.conv4_passes import NAMES, weights_of

Parameters = dict[str, Tensor]


def parameters_of(network: nn.Module) -> Parameters:
    """The network's parameters by name, detached copies that require gradients."""
    return {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}


def adapt(
    network: nn.Module,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
    first_order: bool = True,
    head_only: bool = False,
    in_transform: bool = False,
) -> Parameters:
    """Adapt to one task by gradient steps on the support set (MAML; docs/method.md §5.3, §8.2).

    Args:
        network: the module that gives the form; its own parameters are not used.
        parameters: the starting point; must require gradients unless ``in_transform``.
        images: support images, normalised, ``[ways · shots, 3, side, side]``.
        labels: ``[ways · shots]``.
        steps: gradient steps.
        learning_rate: of every step.
        first_order: cut the graph through the gradients (F43).
        head_only: move the parameters of the head alone (ANIL).
        in_transform: the call is inside a ``torch.func`` transform such as ``vmap``. The same gradients are then
            taken with ``torch.func.grad``, which costs a third more outside of one.

    Returns:
        Adapted parameters; the given ones are unchanged.
    """

    def loss(current: Parameters) -> Tensor:
        return F.cross_entropy(functional_call(network, {**parameters, **current}, (images,)), labels)

    moving = {name: p for name, p in parameters.items() if not head_only or name.startswith("head.")}
    adapted = descend(
        [loss] * steps, moving, learning_rate=learning_rate, first_order=first_order, in_transform=in_transform
    )
    return {**parameters, **adapted}


def fine_tuned(
    network: nn.Module,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
) -> Parameters:
    """What :func:`adapt` gives, as values that nothing is differentiated through; arguments as there."""
    start = {name: p.detach() for name, p in parameters.items()}
    if closed_loop.can_loop(network, images.device):
        grid = closed_loop.grid_of(network)
        weights = closed_loop.fine_tuned(
            images, labels, weights_of(start), steps=steps, learning_rate=learning_rate, grid=grid
        )
        return start | dict(zip(NAMES, weights, strict=True))
    with torch.enable_grad():
        moving = {name: p.clone().requires_grad_() for name, p in start.items()}
        found = adapt(network, moving, images, labels, steps=steps, learning_rate=learning_rate)
    return {name: p.detach() for name, p in found.items()}


def fine_tuned_head(
    head: nn.Linear, features: Tensor, labels: Tensor, *, steps: int, learning_rate: float
) -> Parameters:
    """Weight and bias of a head after gradient steps on features ``[n, feature_size]`` that stay as they are (ANIL)."""
    weight, bias = head.weight.detach(), head.bias.detach()
    one_hot = F.one_hot(labels, len(bias)).to(features.dtype)
    for _ in range(steps):
        error = (F.linear(features, weight, bias).softmax(1) - one_hot) / len(labels)
        weight = torch.sub(weight, error.T @ features, alpha=learning_rate)
        bias = torch.sub(bias, error.sum(0), alpha=learning_rate)
    return {"head.weight": weight, "head.bias": bias}


def descend(
    losses: Iterable[Callable[[Parameters], Tensor]],
    parameters: Parameters,
    *,
    learning_rate: float,
    first_order: bool,
    in_transform: bool = False,
) -> Parameters:
    """The end of a walk of one gradient step on each of ``losses``, differentiable with respect to where it began.

    Args:
        losses: maps from the parameters to a scalar.
        parameters, learning_rate, first_order, in_transform: as in :func:`adapt`.
    """
    for loss in losses:
        if in_transform:
            gradients = grad(loss)(parameters)
        else:
            found = torch.autograd.grad(loss(parameters), list(parameters.values()), create_graph=not first_order)
            gradients = dict(zip(parameters, found, strict=True))
        if first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        parameters = {name: torch.sub(p, gradients[name], alpha=learning_rate) for name, p in parameters.items()}
    return parameters


def query_loss(
    network: nn.Module, parameters: Parameters, support: Tensor, query: Tensor, *, ways: int, **inner: Any
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy (a fraction) on an episode's queries after :func:`adapt`; differentiable.

    Args:
        network, parameters: as in :func:`adapt`.
        support, query: normalised class-major images ``[ways · shots, 3, side, side]`` and ``[ways · queries, …]``.
        ways: classes of the episode.
        inner: further arguments of :func:`adapt`.
    """
    labels, targets = (class_major(images, ways) for images in (support, query))
    logits = functional_call(network, adapt(network, parameters, support, labels, **inner), (query,))
    return F.cross_entropy(logits, targets), (logits.argmax(-1) == targets).float().mean()


def class_major(images: Tensor, ways: int) -> Tensor:
    """Labels ``[n]`` of images ``[n, …]`` that lie class by class."""
    return torch.arange(ways, device=images.device).repeat_interleave(len(images) // ways)
