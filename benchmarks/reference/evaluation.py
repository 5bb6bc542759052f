"""One few-shot episode, answered by fine-tuning and by centroids under two sources of batch-norm statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reference.maml import conv4


def features(weights: list[Tensor], images: Tensor, rows: int | None) -> Tensor:
    """Features, normalised by the statistics of the first ``rows`` images, or of all."""
    x = images
    for block in range(4):
        kernel, bias, scale, shift = weights[4 * block : 4 * block + 4]
        x = F.conv2d(x, kernel, bias, padding=1)
        variance, mean = torch.var_mean(x[:rows], (0, 2, 3), correction=0)
        x = F.batch_norm(x, mean, variance, scale, shift, training=False)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1)


def fine_tuned(weights: list[Tensor], images: Tensor, labels: Tensor, *, steps: int, rate: float) -> list[Tensor]:
    """Weights after gradient steps on the support set."""
    own = [w.detach().clone().requires_grad_() for w in weights]
    optimiser = torch.optim.SGD(own, rate)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(conv4(own, images), labels).backward()
        optimiser.step()
    return own


def accuracies(
    weights: list[Tensor], support: Tensor, labels: Tensor, query: Tensor, truth: Tensor, *, steps: int, rate: float
) -> list[float]:
    """Percent of right answers: fine-tuning, Euclidean and cosine centroids; each transductive, then by the support."""
    count, together = len(support), torch.cat([support, query])
    own = fine_tuned(weights, support, labels, steps=steps, rate=rate)
    with torch.no_grad():
        answers = [conv4(own, query), F.linear(features(own, together, count)[count:], own[16], own[17])]
        by_mode = [features(weights, together, rows) for rows in (None, count)]
        answers += [-torch.cdist(found[count:], centroids(found[:count], labels)) for found in by_mode]
        by_mode = [F.normalize(found, dim=1) for found in by_mode]
        answers += [found[count:] @ F.normalize(centroids(found[:count], labels), dim=1).T for found in by_mode]
    return [100 * (scores.argmax(1) == truth).double().mean().item() for scores in answers]


def centroids(support: Tensor, labels: Tensor) -> Tensor:
    """The mean of every class."""
    return torch.stack([support[labels == label].mean(0) for label in labels.unique()])
