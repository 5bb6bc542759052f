"""Networks as people write them, for zoos from elsewhere, and what they answer at home."""

import torch

from support.lab import MEAN, SIDE, STD

NETWORKS = """

import sys
import threading

from torch.utils.checkpoint import checkpoint


class Sigmoid(Own):
    def forward(self, images):
        return super().forward(images).sigmoid()


class Percent(Own):
    def forward(self, images):
        return 100 * super().forward(images).softmax(1)


class Minus(Own):
    def forward(self, images):
        return -super().forward(images).log_softmax(1)


class Viewing(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4)
        self.answer = nn.Linear(4 * 8 * 8, outputs)

    def forward(self, images):
        return self.answer(self.first(images).view(len(images), -1))


class Flat(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.answer = nn.Linear(3 * 32 * 32, outputs)

    def forward(self, images):
        return self.answer(images.view(-1, 3 * 32 * 32))


class Locked(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.lock = threading.Lock()


def synchronised(outputs):
    return Own(outputs, norm=nn.SyncBatchNorm)


class Training(Own):
    def train(self, data):
        raise ValueError("no data")


class NoGradient(Own):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class InPlace(Own):
    def forward(self, images):
        answers = super().forward(images).sigmoid()
        answers.mul_(2)
        return answers


def exits(outputs):
    sys.exit(3)


def doubles(outputs):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    return Own(outputs)


def parallel(outputs):
    return nn.DataParallel(Own(outputs))


class Calibrated(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.scale = nn.Linear(outputs, outputs)

    def forward(self, images):
        return self.scale(super().forward(images))


class Beside(Own):
    def __init__(self, outputs):
        super().__init__(outputs)
        self.other = nn.Linear(3, outputs)

    def forward(self, images):
        answers = super().forward(images)
        self.other(images.mean((2, 3)))
        return answers


class Tempered(Beside):
    def forward(self, images):
        return super().forward(images) / 3


class Soft(Beside):
    def forward(self, images):
        return super().forward(images).softmax(1)


class Wide(Own):
    def __init__(self, outputs):
        super().__init__(outputs, width=outputs)


class Standardised(Own):
    def forward(self, images):
        return super().forward((images - images.mean((1, 2, 3), True)) / images.std((1, 2, 3), keepdim=True))


class Wrapped(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.module = Own(outputs)
        self.register_buffer("scale", torch.full((), 0.5))

    def forward(self, images):
        return self.module(images * self.scale)


class Dense(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.SyncBatchNorm(6), nn.ReLU())
        self.second = nn.SyncBatchNorm(6)
        self.answer = nn.Linear(6, outputs)

    def forward(self, images):
        return self.answer(self.second(self.first(images).mean((2, 3))))


class Mean(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.one, self.other = Own(outputs), Own(outputs)

    def forward(self, images):
        return (self.one(images) + self.other(images)) / 2
"""

IMAGES = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def at_home(network):
    """What a network answers about IMAGES, normalised as its card says."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.no_grad():
        return network((IMAGES - mean) / std)
