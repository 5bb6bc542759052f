"""Batch norm whose source of statistics is explicit: stored, the batch's own, or a reference part of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.networks.batch_norm_function import batch_norm
from dfml.networks.classifier import Classifier


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
        self.own_derivatives = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape in equals shape out."""
        if self.own_derivatives:
            return batch_norm(x, self.weight, self.bias, self.eps)
        if self.reference_rows is None:
            return super().forward(x)
        mean, variance = _moments(x[: self.reference_rows])
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, ``[C]``."""
    # torch.var_mean is some twenty times slower on channels-last images.
    mean = x.mean((0, 2, 3))
    return mean, (x - mean[:, None, None]).square().mean((0, 2, 3))


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
def second_derivatives(network: nn.Module) -> Iterator[None]:
    """Let every batch norm of an episodic ``network`` use the derivatives of :mod:`dfml.networks.batch_norm_function`.

    Needed for second derivatives inside ``vmap``, where PyTorch's are wrong, and faster for second derivatives
    anywhere; for first derivatives alone PyTorch's own kernel is the quicker one.
    """
    norms = _norms(network)
    for norm in norms:
        norm.own_derivatives = True
    try:
        yield
    finally:
        for norm in norms:
            norm.own_derivatives = False


@torch.no_grad()
def store_statistics(network: Classifier, images: Tensor) -> None:
    """Give every batch norm of a network with stored statistics those of a batch of images.

    What the network then answers to any image is what its episodic form answers within :func:`statistics_of_first`,
    after these images.

    Args:
        network: in evaluation mode; built with ``episodic=False``.
        images: as the network takes them, ``[B, 3, side, side]``.
    """

    def store(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, EpisodicBatchNorm2d)
        norm.running_mean, norm.running_var = _moments(inputs[0])

    # One pass is enough: a norm has its statistics before it normalises what the later ones see.
    hooks = [norm.register_forward_pre_hook(store) for norm in _norms(network)]
    try:
        network.features(images)
    finally:
        for hook in hooks:
            hook.remove()
