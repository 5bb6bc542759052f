"""Distillation: the distance between the answers of a student and of its teacher, and heads for many teachers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_loss(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    """How far the student is from the teacher; logits ``[B, ways]`` both.

    ``kl`` is KL(teacher‖student) at temperature 1, the batch mean. ``linear_prob`` is the published expression: a KL
    of probabilities in place of log-probabilities, averaged over elements, which reduces to minus the mean of their
    product plus a constant (F02).
    """
    if kind == "kl":
        return F.kl_div(F.log_softmax(student, 1), F.log_softmax(teacher, 1), reduction="batchmean", log_target=True)
    if kind == "linear_prob":
        targets = F.softmax(teacher, 1)
        return (targets * (F.log_softmax(teacher, 1) - F.softmax(student, 1))).mean()
    raise ValueError(f"unknown distillation loss {kind!r}")


def draw_heads(outputs: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Linear heads side by side on features of length ``size``: weights ``[outputs, size]`` and biases ``[outputs]``.

    Weights are normal with a deviation of half the inverse root of ``size``, which gives features of unit variance
    logits near zero; biases are zero. They lie where the generator does.
    """
    weights = torch.randn(outputs, size, generator=generator, device=generator.device) / (2 * math.sqrt(size))
    return weights, torch.zeros(outputs, device=generator.device)
