"""Spectral clustering of a few hundred items by their mutual affinities (Ng, Jordan and Weiss, 2002)."""

import torch
from torch import Tensor

MAX_ROUNDS = 300


def spectral_clusters(affinity: Tensor, clusters: int, *, restarts: int, draws: torch.Generator) -> Tensor:
    """Cut a graph into clusters of high affinity inside.

    Items are placed by the leading eigenvectors of D^(−1/2) A D^(−1/2), each scaled by D^(−1/2) as in a diffusion map,
    and then parted by k-means. An item's affinity to itself does not count.

    Args:
        affinity: symmetric, not negative, ``[n, n]``.
        clusters: at most how many; no more than ``n``.
        restarts: of k-means.
        draws: source of its starting points (a CPU generator).

    Returns:
        The cluster of every item, ``[n]`` int64 on the CPU.
    """
    weights = affinity.detach().cpu().double().clone().fill_diagonal_(0)
    degrees = weights.sum(1)
    # An item without any affinity stands alone whatever its scale is.
    roots = torch.where(degrees > 0, degrees, torch.ones_like(degrees)).sqrt()
    vectors = torch.linalg.eigh(weights / (roots[:, None] * roots)).eigenvectors[:, -clusters:]
    return k_means(vectors / roots[:, None], clusters, restarts=restarts, draws=draws)


def k_means(points: Tensor, clusters: int, *, restarts: int, draws: torch.Generator) -> Tensor:
    """The cluster of every point ``[n, d]``, by the best of several runs of Lloyd's algorithm from k-means++ starts."""
    best, least = torch.zeros(len(points), dtype=torch.int64), float("inf")
    for _ in range(restarts):
        labels, cost = _lloyd(points, _spread_out(points, clusters, draws))
        if cost < least:
            best, least = labels, cost
    return best


def _spread_out(points: Tensor, clusters: int, draws: torch.Generator) -> Tensor:
    """Starting centres ``[clusters, d]``: each next one a point drawn by its squared distance to those before."""
    chosen = [int(torch.randint(len(points), (), generator=draws))]
    nearest = _distances(points, points[chosen])[:, 0]
    while len(chosen) < clusters:
        # Points that coincide leave nothing to choose by.
        odds = nearest if nearest.sum() > 0 else torch.ones_like(nearest)
        chosen.append(int(torch.multinomial(odds, 1, generator=draws)))
        nearest = torch.minimum(nearest, _distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _lloyd(points: Tensor, centres: Tensor) -> tuple[Tensor, float]:
    labels = torch.full((len(points),), -1)
    for _ in range(MAX_ROUNDS):
        distances = _distances(points, centres)
        moved = distances.argmin(1)
        if torch.equal(moved, labels):
            break
        labels = moved
        members = torch.nn.functional.one_hot(labels, len(centres)).to(points.dtype)
        sizes = members.sum(0)
        means = members.T @ points / sizes.clamp(min=1)[:, None]
        # A centre that has lost all its points stays where it is.
        centres = torch.where(sizes[:, None] > 0, means, centres)
    return labels, float(distances.amin(1).sum())


def _distances(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances ``[n, centres]``."""
    return (points[:, None] - centres).square().sum(2)
