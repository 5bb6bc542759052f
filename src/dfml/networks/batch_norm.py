"""Batch norm whose source of statistics is explicit: stored, the batch's own, or a reference part of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EpisodicBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over ``[batch, channels, height, width]``.

    ``episodic=False`` is PyTorch's batch norm: zoo models train and answer with it. ``episodic=True`` never uses nor
    updates stored statistics, in training or evaluation: the meta-learner's form (docs/method.md §2.2, F21). Within
    :func:`statistics_of_first`, the statistics come from the first rows of the batch only, so that a query image
    cannot influence another one's answer.
    """

    def __init__(self, channels: int, *, episodic: bool) -> None:
        super().__init__(channels, track_running_stats=not episodic)
        self.reference_rows: int | None = None
        self.affine_apart = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape in equals shape out."""
        if self.affine_apart:
            normalised = F.batch_norm(x, None, None, training=True, eps=self.eps)
            return normalised * self.weight[:, None, None] + self.bias[:, None, None]
        if self.reference_rows is None:
            return super().forward(x)
        reference = x[: self.reference_rows]
        variance, mean = torch.var_mean(reference, dim=(0, 2, 3), correction=0)
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)


def _norms(network: nn.Module) -> list[EpisodicBatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, EpisodicBatchNorm2d)]


@contextmanager
def statistics_of_first(network: nn.Module, rows: int) -> Iterator[None]:
    """Let every batch norm of ``network`` take its statistics from the first ``rows`` images of a batch.

    For answers under ``torch.no_grad()``: PyTorch refuses a gradient through given statistics.
    """
    norms = _norms(network)
    for norm in norms:
        norm.reference_rows = rows
    try:
        yield
    finally:
        for norm in norms:
            norm.reference_rows = None


@contextmanager
def affine_apart(network: nn.Module) -> Iterator[None]:
    """Let every batch norm of an episodic ``network`` apply scale and shift outside of PyTorch's kernel.

    Needed for second derivatives inside ``vmap``: there PyTorch's own gradient of the scale takes the statistics of
    the batch for constants, and the meta-gradient comes out wrong by some percent. Elsewhere it is only slower.
    """
    norms = _norms(network)
    for norm in norms:
        norm.affine_apart = True
    try:
        yield
    finally:
        for norm in norms:
            norm.affine_apart = False
