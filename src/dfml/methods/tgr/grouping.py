"""How alike models are by their embeddings, and groups of models that are unlike (TGR, ICML 2024)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.cluster import SpectralClustering
from torch import Tensor

EPSILON = 1e-6
OFFICIAL_MODELS = 100
RESTARTS = 30

# Entries of an embedding that are compared at a time, of all models at once: a few tens of MB for a hundred models.
BLOCK = 2**16

# A tensor whose entries are this small beside another tensor's holds rounding errors, such as the bias before a batch
# norm by batch statistics, on which no answer depends.
NEGLIGIBLE = 1e-10


@torch.no_grad()
def similarity(embeddings: Sequence[Mapping[str, Tensor]], *, epsilon: str, device: torch.device) -> Tensor:
    """How alike models are, ``[models, models]`` float64 on the CPU; symmetric, in [0, 1], 1 for equal embeddings.

    The mean over parameter tensors of cos(F_a / S, F_b / S), S = F_a + F_b + ε (not rounded; docs/methods/tgr.md). The
    time is that of models² · parameters / 2 additions and divisions: for 100 models and a ResNet-34 some 10¹¹.

    Args:
        embeddings: of every model, a tensor of non-negative numbers for each parameter; on the CPU.
        epsilon: ``absolute`` is 1e-6 as published; ``relative`` 1e-6 of the mean of F_a + F_b over the tensor (T4).
        device: where blocks of the embeddings are compared.
    """
    count = len(embeddings)
    means = {name: torch.stack([e[name].double().mean() for e in embeddings]) for name in embeddings[0]}
    largest = torch.stack(list(means.values())).amax()
    telling = [name for name, mean in means.items() if mean.amax() > NEGLIGIBLE * largest]
    total = torch.zeros(count, count, dtype=torch.float64)
    for name in telling:
        floor = EPSILON * (means[name][:, None] + means[name]) if epsilon == "relative" else EPSILON
        total += _cosines([e[name].flatten() for e in embeddings], floor, device)
    return (total / max(len(telling), 1)).fill_diagonal_(1)


def _cosines(rows: Sequence[Tensor], floor: Tensor | float, device: torch.device) -> Tensor:
    """Cosines of the ratios of one tensor for every pair of its rows, ``[models, models]``."""
    count = len(rows)
    floors = torch.as_tensor(floor, dtype=rows[0].dtype).expand(count, count).to(device)
    products = torch.zeros(count, count, dtype=torch.float64, device=device)
    squares = torch.zeros_like(products)  # of the row's model, in its pair with the column's
    for start in range(0, len(rows[0]), BLOCK):
        block = torch.stack([row[start : start + BLOCK] for row in rows]).to(device)
        for a in range(count):
            others = block[a:]
            scale = (block[a] + others + floors[a, a:, None]).clamp_(min=torch.finfo(block.dtype).tiny)
            own, theirs = block[a] / scale, others / scale
            products[a, a:] += (own * theirs).sum(1)
            squares[a, a:] += own.square().sum(1)
            squares[a + 1 :, a] += theirs[1:].square().sum(1)
    lengths = (squares * squares.T).sqrt()
    nothing = (squares == 0) & (squares.T == 0)
    cosines = (products / lengths.clamp(min=torch.finfo(torch.float64).tiny)).masked_fill(nothing, 1.0).triu()
    return (cosines + cosines.triu(1).T).clamp(max=1).cpu()


def eligible(models: int, group_models: str) -> int:
    """How many of the pool's models take part; the published code keeps the first hundred (T1)."""
    return min(models, OFFICIAL_MODELS) if group_models == "first_100" else models


class DissimilarGroups:
    """Models in groups whose members are unlike each other, and how they are drawn.

    Args:
        likeness: similarity of the models, ``[models, models]``.
        groups: at most how many; as many as models if there are fewer of these.
        generator: source of the clustering's starting points (a CPU generator).
    """

    def __init__(self, likeness: Tensor, groups: int, generator: torch.Generator) -> None:
        count = len(likeness)
        if count <= groups:
            labels = torch.arange(count)
        else:
            # Unlike models are near each other; a floor keeps models that are all alike from having no neighbour.
            affinity = (1 - likeness).clamp(min=NEGLIGIBLE).fill_diagonal_(0)
            clustering = SpectralClustering(
                groups,
                affinity="precomputed",
                n_init=RESTARTS,
                random_state=int(torch.randint(2**31, (), generator=generator)),
            )
            labels = torch.from_numpy(clustering.fit_predict(affinity.numpy()))
        self.members = [(labels == group).nonzero().flatten().tolist() for group in labels.unique()]

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Indices of ``count`` models of one group, the group drawn evenly, the models with replacement."""
        group = self.members[rng.integers(len(self.members))]
        return [group[place] for place in rng.integers(len(group), size=count)]
