"""Asking a zoo: the answers of every model to the same images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dfml.compute.placement import laid_out
from dfml.zoo.pool import PoolModel

CHUNK = 256


@torch.no_grad()
def ask(models: Sequence[PoolModel], images: Tensor) -> Tensor:
    """Logits of every model for every image, ``[models, n, ways]``; images ``[n, 3, side, side]`` in [0, 1]."""
    chunks = [laid_out(chunk) for chunk in images.split(CHUNK)]
    return torch.stack([torch.cat([model.logits(chunk) for chunk in chunks]) for model in models])
