"""Second-order MAML, episode by episode, on a Conv4 written with explicit weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv4(weights: list[Tensor], images: Tensor) -> Tensor:
    """Logits: four blocks of convolution, batch norm by the batch's statistics, ReLU, max pool; then a linear map."""
    x = images
    for block in range(4):
        kernel, bias, scale, shift = weights[4 * block : 4 * block + 4]
        x = F.conv2d(x, kernel, bias, padding=1)
        x = F.batch_norm(x, None, None, scale, shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return F.linear(x.flatten(1), weights[16], weights[17])


def adapt(weights: list[Tensor], images: Tensor, labels: Tensor, *, steps: int, rate: float) -> list[Tensor]:
    """Weights after gradient steps on the support set; differentiable."""
    for _ in range(steps):
        loss = F.cross_entropy(conv4(weights, images), labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
    return weights


def outer_step(
    weights: list[Tensor],
    optimiser: torch.optim.Optimizer,
    episodes: list[tuple[Tensor, Tensor]],
    *,
    ways: int,
    steps: int,
    rate: float,
) -> tuple[float, float, list[Tensor]]:
    """One outer step; the summed loss of all episodes is differentiated once.

    Returns query loss, accuracy, and the weights adapted to the last episode.
    """
    total, right = torch.zeros((), device=weights[0].device), 0.0
    for support, query in episodes:
        support_labels, query_labels = (
            torch.arange(ways, device=x.device).repeat_interleave(len(x) // ways) for x in (support, query)
        )
        fast = adapt(weights, support, support_labels, steps=steps, rate=rate)
        logits = conv4(fast, query)
        total = total + F.cross_entropy(logits, query_labels)
        right += (logits.argmax(1) == query_labels).float().mean().item()
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    return total.item() / len(episodes), right / len(episodes), [w.detach() for w in fast]
