"""Losses of model inversion, and what they listen to in a frozen network (docs/method.md §3.2)."""

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class NormHooks:
    """Calls :meth:`note` with every batch norm's input while inside ``with``; after it the hooks are gone.

    Heard are those with stored statistics, of this package or of PyTorch.
    """

    def __init__(self, network: nn.Module) -> None:
        self._norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
        self._hooks: list[RemovableHandle] = []

    def note(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        """Take the input ``[B, channels, height, width]`` of one batch norm."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._hooks = [norm.register_forward_pre_hook(self.note) for norm in self._norms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()


class MovingStatistics:
    """Moving estimates of what batch norms meet over the steps of one inversion (Fast-Datafree).

    The first step's estimate is that step's statistics; later ones keep ``momentum`` of the one before, through which
    no gradient passes.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._known: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def update(self, norm: nn.Module, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The estimates of ``norm`` after a step with these statistics, ``[channels]`` each."""
        if norm in self._known:
            old_mean, old_variance = self._known[norm]
            mean = self.momentum * old_mean + (1 - self.momentum) * mean
            variance = self.momentum * old_variance + (1 - self.momentum) * variance
        self._known[norm] = mean.detach(), variance.detach()
        return mean, variance


class StatisticsGap(NormHooks):
    """DeepInversion's feature regulariser: how far batch-norm inputs are from the stored statistics.

    Inside ``with StatisticsGap(network) as gap:`` a forward pass of ``network`` makes :meth:`value` return
    Σ_layers ‖μ − μ̂‖₂ + ‖σ² − σ̂²‖₂ (unsquared norms, biased variance over batch and space). The hooks are gone after
    the block, also when it raises (F07). With ``moving`` estimates of earlier passes, μ and σ² are what these become by
    the pass.
    """

    def __init__(self, network: nn.Module, moving: MovingStatistics | None = None) -> None:
        self._moving = moving
        super().__init__(network)
        self._terms: list[Tensor] = []

    def note(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        """Compare its statistics with those stored."""
        # Flattened to rows, the reductions run over contiguous memory for channels-last activations.
        rows = inputs[0].permute(0, 2, 3, 1).flatten(0, 2)
        mean = rows.mean(0)
        variance = (rows - mean).square().mean(0)
        if self._moving is not None:
            mean, variance = self._moving.update(norm, mean, variance)
        assert norm.running_mean is not None and norm.running_var is not None
        self._terms += [(mean - norm.running_mean).norm(), (variance - norm.running_var).norm()]

    def value(self) -> Tensor:
        """The term of the passes since the last call, a scalar; 0 for a network without stored statistics."""
        total = torch.stack(self._terms).sum() if self._terms else torch.zeros(())
        self._terms = []
        return total


def agreement(teacher: Tensor, student: Tensor) -> Tensor:
    """1 where both predict the same class, else 0; logits ``[..., B, ways]`` to ``[..., B]``."""
    return (teacher.argmax(-1) == student.argmax(-1)).to(teacher.dtype)


def disagreement(teacher: Tensor, student: Tensor, kind: str) -> Tensor:
    """How far apart the answers to each image are; logits ``[..., B, ways]`` to ``[..., B]``.

    Args:
        teacher, student: logits; shapes may broadcast.
        kind: ``kl_ts`` KL(teacher‖student), ``kl_st`` KL(student‖teacher), ``js`` the Jensen–Shannon divergence
            (bounded by log 2), ``l1`` the L1 distance of the logits, ``inner_product`` the published expression (F03).
    """
    if kind == "l1":
        return (teacher - student).abs().sum(-1)
    log_t, log_s = F.log_softmax(teacher, -1), F.log_softmax(student, -1)
    if kind == "inner_product":
        return (log_s.exp() * (log_s - log_t.exp())).sum(-1)
    if kind == "kl_ts":
        return (log_t.exp() * (log_t - log_s)).sum(-1)
    if kind == "kl_st":
        return (log_s.exp() * (log_s - log_t)).sum(-1)
    if kind == "js":
        log_m = torch.logaddexp(log_t, log_s) - math.log(2)
        return ((log_t.exp() * (log_t - log_m)).sum(-1) + (log_s.exp() * (log_s - log_m)).sum(-1)) / 2
    raise ValueError(f"unknown adversarial loss {kind!r}")


def adversarial_loss(teacher: Tensor, student: Tensor, kind: str) -> Tensor:
    """Minimised, it makes teacher and student disagree where both predict the same class (docs/method.md §3.2, F03).

    Args:
        teacher: logits ``[B, ways]``; the gradient reaches the image through them.
        student: logits ``[B, ways]``; detach them to keep the student out of the gradient.
        kind: as in :func:`disagreement`, whose negative is taken. The gradient of ``inner_product`` is that of the mean
            of ⟨student, teacher⟩ probabilities.

    Returns:
        The mean over the batch, zero for samples on which the predictions differ.
    """
    return -(agreement(teacher, student) * disagreement(teacher, student, kind)).mean()


def total_variation(images: Tensor) -> Tensor:
    """Sum of four 2-norms, each of all differences to one neighbour: right, below, and both diagonals below.

    A norm runs over the whole batch at once, as in DeepInversion (Yin et al., 2020), and so grows with the square root
    of its size.

    Args:
        images: ``[..., side, side]``.

    Returns:
        A scalar. Its gradient is zero, not undefined, where all neighbours in one direction are equal.
    """
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return right.norm() + down.norm() + falling.norm() + rising.norm()


def rolled(images: Tensor, shift: Sequence[int]) -> Tensor:
    """Images ``[..., side, side]`` moved down and right by whole pixels; what leaves comes in at the other edge."""
    down, right = shift
    return torch.roll(images, (down, right), dims=(-2, -1))
