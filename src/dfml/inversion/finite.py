"""What is said when an inversion has become infinite."""

import torch
from torch import Tensor

from dfml.errors import DfmlError
from dfml.zoo.pool import PoolModel


def not_finite(model: PoolModel, remedy: str) -> DfmlError:
    """The error of an inversion of ``model`` whose loss is infinite or not a number."""
    return DfmlError(
        f"inversion of {model.dataset}/{model.architecture} model {model.index}: the loss is not finite; {remedy}"
    )


def check_finite(model: PoolModel, losses: Tensor, images: Tensor, remedy: str) -> None:
    """Wait for the device and raise :func:`not_finite` unless all losses and pixels are numbers."""
    if not bool(torch.isfinite(losses).all() & torch.isfinite(images).all()):
        raise not_finite(model, remedy)
