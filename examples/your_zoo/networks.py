"""Networks of a lab, as it has them: nothing here knows dfml. The card of `make_lab.py` names the functions below."""

from itertools import pairwise

import torch
from torch import nn


class Narrowing(nn.Module):
    """Three convolutions with PyTorch's batch norm, and a layer that answers."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
                for a, b in pairwise(sizes)
            )
        )
        self.answer = nn.Linear(4 * width, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of images ``[B, 3, side, side]``."""
        return self.answer(self.body(images).mean((2, 3)))


class GreyNet(nn.Module):
    """Takes grey images of 0 to 255 and gives probabilities; normalises by groups, so that it stores no statistics."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.GroupNorm(8, 32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 16, outputs),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of images ``[B, 1, 32, 32]``."""
        return self.layers(images / 255 - 0.5).softmax(1)


def narrowing(outputs: int, width: int = 24) -> nn.Module:
    """A new :class:`Narrowing`."""
    return Narrowing(outputs, width)


def grey_net(outputs: int) -> nn.Module:
    """A new :class:`GreyNet`."""
    return GreyNet(outputs)
