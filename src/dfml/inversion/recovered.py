"""Images recovered from one model, and what is said when an inversion has become infinite."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dfml.errors import DfmlError
from dfml.zoo.model import PoolModel

REMEDY = "lower the weight of the adversarial or batch-norm term (`adversary.weight`, `bn_weight`) or a learning rate"
"""What to do when the loss of a generator's inner steps is not finite."""


@dataclass(frozen=True)
class Recovery:
    """What filled a bank: a cross-entropy per iteration or model, and its seconds over all interruptions."""

    history: list[float]
    seconds: float


@dataclass(frozen=True)
class Recovered:
    """Images recovered from one model.

    ``images`` ``[B, 3, canvas, canvas]`` in [0, 1]; ``targets`` ``[B]``, positions of the model's outputs in the order
    0, 1, …, ways−1, 0, 1, …; ``curve`` the cross-entropy of each forward pass, ``[k]``, on the device.
    """

    model: PoolModel
    images: Tensor
    targets: Tensor
    curve: Tensor


def interleaved_targets(ways: int, images_per_class: int, device: torch.device) -> Tensor:
    """Targets 0, 1, …, ways−1 repeated ``images_per_class`` times, ``[ways · images_per_class]``."""
    return torch.arange(ways, device=device).repeat(images_per_class)


def not_finite(model: PoolModel, remedy: str) -> DfmlError:
    """The error of an inversion of ``model`` whose loss is infinite or not a number."""
    return DfmlError(
        f"inversion of {model.dataset}/{model.architecture} model {model.index}: the loss is not finite; {remedy}"
    )


def check_finite(model: PoolModel, losses: Tensor, images: Tensor, remedy: str) -> None:
    """Wait for the device and raise :func:`not_finite` unless all losses and pixels, of any shape, are numbers."""
    if not bool(torch.isfinite(losses).all() & torch.isfinite(images).all()):
        raise not_finite(model, remedy)
