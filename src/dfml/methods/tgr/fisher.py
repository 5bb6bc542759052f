"""The diagonal of a network's Fisher information on labelled images: which parameters the images are sensitive to."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dfml.compute.placement import channels_last

# The published estimate is the mean over this many batches.
BATCHES = 5

# Gradients are computed for several images at once. Together they hold at most ROOM numbers (256 MiB), which decides
# how many images go together, and never more than MOST.
ROOM, MOST = 2**26, 64

# Images that pass the network at once while batch-norm statistics are measured, when no gradients are held.
FORWARD = 256


def batch_size(network: nn.Module, images: int, kind: str) -> int:
    """Images of a batch of :func:`fisher_diagonal`, the last one excepted."""
    if kind == "squared_mean":
        return -(-images // BATCHES)
    return max(1, min(MOST, ROOM // sum(p.numel() for p in network.parameters())))


def fisher_diagonal(
    network: nn.Module, inputs: Tensor, targets: Tensor, *, kind: str, stored: bool
) -> dict[str, Tensor]:
    """Squared gradients of the cross-entropy, by parameter, on the CPU.

    Args:
        network: a classifier whose batch norms can hold statistics; it is not changed.
        inputs: normalised images, ``[n, 3, side, side]``.
        targets: their labels, ``[n]``.
        kind: ``per_sample`` averages the squared gradient of every image, the network being one fixed function;
            ``squared_mean`` squares the gradient of a batch's mean loss, batch norms in training mode, and averages
            over five batches, as published (T3).
        stored: ``per_sample`` keeps the statistics of the batch norms; otherwise they become averages over the
            statistics of chunks of ``inputs``.
    """
    own = copy.deepcopy(network).requires_grad_(True)
    found = _squared_mean(own, inputs, targets) if kind == "squared_mean" else _per_sample(own, inputs, targets, stored)
    return {name: value.cpu() for name, value in found.items()}


def _per_sample(network: nn.Module, inputs: Tensor, targets: Tensor, stored: bool) -> dict[str, Tensor]:
    if not stored:
        _measure(network, inputs)
    network.eval()
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def loss(parameters: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, parameters, (image[None],)), target[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    size = batch_size(network, len(inputs), "per_sample")
    totals = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for images, labels in zip(inputs.split(size), targets.split(size), strict=True):
        for name, gradient in each(parameters, images, labels).items():
            totals[name] += gradient.square().sum(0)
    return {name: total / len(inputs) for name, total in totals.items()}


@torch.no_grad()
def _measure(network: nn.Module, inputs: Tensor) -> None:
    """Set the statistics of the batch norms to averages over chunks of ``inputs``."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None
    network.train()
    for images in inputs.split(FORWARD):
        network(channels_last(images))


def _squared_mean(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    network.train()
    parameters = dict(network.named_parameters())
    totals = {name: torch.zeros_like(p) for name, p in parameters.items()}
    size = batch_size(network, len(inputs), "squared_mean")
    batches = list(zip(inputs.split(size), targets.split(size), strict=True))
    for images, labels in batches:
        loss = F.cross_entropy(network(channels_last(images)), labels)
        for name, gradient in zip(totals, torch.autograd.grad(loss, list(parameters.values())), strict=True):
            totals[name] += gradient.square() / len(batches)
    return {name: total.detach() for name, total in totals.items()}
