"""FIVE's inner loop as it is usually written: a generator copy, a new optimiser and a running loss for each model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def crop_and_flip(images: Tensor, padding: int = 4) -> Tensor:
    """One random crop and flip for the whole batch."""
    side = images.shape[-1]
    down, right = torch.randint(0, 2 * padding + 1, (2,)).tolist()
    crop = F.pad(images, (padding,) * 4)[:, :, down : down + side, right : right + side]
    return crop.flip(-1) if torch.rand(()).item() < 0.5 else crop


def step(
    generator: nn.Module,
    teachers: Sequence[nn.Module],
    *,
    latent: int,
    ways: int,
    per_class: int,
    steps: int,
    rate: float,
    student: nn.Module | None = None,
) -> list[Tensor]:
    """Recover every teacher's task one after another, then move the generator; returns the images of each.

    With a ``student`` the published adversarial term is minimised too.
    """
    device = next(generator.parameters()).device
    targets = torch.arange(ways, device=device).repeat(per_class)
    recovered = []
    meta = [torch.zeros_like(p) for p in generator.parameters()]
    for teacher in teachers:
        fast = copy.deepcopy(generator)
        latents = torch.randn(len(targets), latent, device=device).requires_grad_()
        groups: list[dict[str, Any]] = [{"params": fast.parameters()}, {"params": [latents]}]
        optimiser = torch.optim.Adam(groups, rate, betas=BETAS)
        best, kept = 1e6, None
        for _ in range(steps):
            images = fast(latents)
            views = (crop_and_flip(images) - 0.5) / 0.25
            logits = teacher(views)
            loss = F.cross_entropy(logits, targets)
            if student is not None:
                with torch.no_grad():
                    answers = student(views)
                same = (answers.argmax(1) == logits.argmax(1)).float()
                spread = F.kl_div(F.softmax(logits, 1), F.softmax(answers, 1), reduction="none").sum(1)
                loss = loss - (same * spread).mean()
            if loss.item() < best:
                best, kept = loss.item(), images.detach()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert kept is not None
        recovered.append(kept)
        meta = [total + p.grad for total, p in zip(meta, fast.parameters(), strict=True) if p.grad is not None]
    outer = torch.optim.Adam(generator.parameters(), rate, betas=BETAS)
    for parameter, gradient in zip(generator.parameters(), meta, strict=True):
        parameter.grad = gradient
    outer.step()
    return recovered
