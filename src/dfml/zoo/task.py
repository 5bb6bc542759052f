"""The task of one zoo model: images of its classes, cut into a part to train on and a part to measure on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dfml.data.images import ClassImages
from dfml.errors import DataError


@dataclass(frozen=True)
class Task:
    """Images of one model's classes on the device: float in [0, 1] ``[N, 3, side, side]``, labels ``[N]``."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def training_count(count: int, fraction: float) -> int:
    """How many of a class's ``count`` images, the first ones, train: floor(fraction · count) (docs/method.md §2.3)."""
    return math.floor(fraction * count + 1e-9)


def make_task(images: ClassImages, classes: list[int], fraction: float, device: torch.device) -> Task:
    """Cut the images of ``classes`` into a training and a held-out part; labels are positions in ``classes``.

    Raises:
        DataError: a class has too few images for the cut.
    """
    parts: tuple[list[Tensor], ...] = ([], [], [], [])
    for label, c in enumerate(classes):
        own = images.images[c]
        cut = training_count(len(own), fraction)
        if cut == 0 or cut == len(own):
            raise DataError(
                f"{images.dataset}: class {images.names[c]!r} has {len(own)} images, too few to train on "
                f"{fraction:.0%} and test on the rest; add images or change `zoo.train_fraction`"
            )
        for index, piece in ((0, own[:cut]), (2, own[cut:])):
            parts[index].append(piece)
            parts[index + 1].append(torch.full((len(piece),), label))
    train_x, train_y, test_x, test_y = (torch.cat(p) for p in parts)
    return Task(_to_float(train_x, device), train_y.to(device), _to_float(test_x, device), test_y.to(device))


def _to_float(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float().div_(255)
