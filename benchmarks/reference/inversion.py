"""FIVE's inner loop as it is usually written: a generator copy and a new optimiser for each model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.draws import PADDING, Crop, InversionDraws

BETAS = (0.5, 0.999)


class Upsampler(nn.Sequential):
    """The generator, layer by layer, its enlarged activations made for real."""

    def __init__(self, latent: int, width: int, side: int) -> None:
        quarter = side // 4
        super().__init__(
            nn.Linear(latent, 2 * width * quarter**2),
            nn.Unflatten(1, (2 * width, quarter, quarter)),
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 3, 3, padding=1),
            nn.Sigmoid(),
        )
        self.latent = latent


def crop_and_flip(images: Tensor, crop: Crop) -> Tensor:
    """One crop and flip for the whole batch."""
    side, (down, right, flipped) = images.shape[-1], crop
    top, left = PADDING + down, PADDING + right
    window = F.pad(images, (PADDING,) * 4)[:, :, top : top + side, left : left + side]
    return window.flip(-1) if flipped else window


def step(
    generator: nn.Module,
    teachers: Sequence[nn.Module],
    draws: InversionDraws,
    *,
    latent: int,
    ways: int,
    per_class: int,
    steps: int,
    rate: float,
    student: nn.Module | None = None,
) -> list[Tensor]:
    """Recover every teacher's task one after another, then move the generator; returns the images of each.

    The images are those of the last forward pass. With a ``student`` the published adversarial term is minimised too.
    """
    device = next(generator.parameters()).device
    targets = torch.arange(ways, device=device).repeat(per_class)
    recovered = []
    meta = [torch.zeros_like(p) for p in generator.parameters()]
    for teacher in teachers:
        fast = copy.deepcopy(generator)
        latents = draws.latents(len(targets), latent).to(device).requires_grad_()
        groups: list[dict[str, Any]] = [{"params": fast.parameters()}, {"params": [latents]}]
        optimiser = torch.optim.Adam(groups, rate, betas=BETAS)
        for crop in draws.crops(steps):
            images = fast(latents)
            views = (crop_and_flip(images, crop) - 0.5) / 0.25
            logits = teacher(views)
            loss = F.cross_entropy(logits, targets)
            if student is not None:
                with torch.no_grad():
                    answers = student(views)
                same = (answers.argmax(1) == logits.argmax(1)).float()
                spread = F.kl_div(F.softmax(logits, 1), F.softmax(answers, 1), reduction="none").sum(1)
                loss = loss - (same * spread).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert loss.item() < 1e6
        recovered.append(images.detach())
        meta = [total + p.grad for total, p in zip(meta, fast.parameters(), strict=True) if p.grad is not None]
    outer = torch.optim.Adam(generator.parameters(), rate, betas=BETAS)
    for parameter, gradient in zip(generator.parameters(), meta, strict=True):
        parameter.grad = gradient
    outer.step()
    return recovered
