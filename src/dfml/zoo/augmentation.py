"""Augmentation of a zoo's training images, drawn for a whole epoch ahead (docs/method.md §2.3)."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dfml.imaging.affine import draw_affines, look_at
from dfml.imaging.colour import draw_recolours, in_colours
from dfml.imaging.crop_flip import crop_flip, draw_crop_flips
from dfml.zoo.settings import ZooSettings

CROP_PADDING = 2
# In radians, as a factor, and in parts of the side.
TURN, SCALE, SHIFT = 0.2, 1.2, 0.08


class Augmentation:
    """How the batches of an epoch are varied: what was drawn lies at one place, where recorded steps find it.

    Args:
        settings: of the zoo.
        steps: batches of an epoch.
        images: of a batch.
        device: where the images are.
    """

    def __init__(self, settings: ZooSettings, *, steps: int, images: int, device: torch.device) -> None:
        self._kinds: list[tuple[Callable[..., Any], Callable[[Tensor, Any], Tensor]]] = []
        if settings.augment == "affine":
            self._kinds.append((partial(draw_affines, turn=TURN, scale=SCALE, shift=SHIFT), look_at))
        elif settings.augment != "none":
            flip = settings.augment == "crop_flip"
            draw = partial(draw_crop_flips, padding=CROP_PADDING, flip=flip, per_sample=True)
            self._kinds.append((draw, crop_flip))
        if settings.recolour:
            self._kinds.append((draw_recolours, in_colours))
        self._steps, self._images, self._device = steps, images, device
        # Only their shapes matter: an epoch begins with a draw.
        self._drawn = self._draw(torch.Generator())

    def _draw(self, generator: torch.Generator) -> list[Any]:
        drawn = [draw(self._steps, images=self._images, generator=generator) for draw, _ in self._kinds]
        return [one.to(self._device) for one in drawn]

    def redraw(self, generator: torch.Generator) -> None:
        """Draw for the next epoch (from a CPU generator), into the place of the last one."""
        for place, drawn in zip(self._drawn, self._draw(generator), strict=True):
            for field in fields(place):
                getattr(place, field.name).copy_(getattr(drawn, field.name))

    def __call__(self, images: Tensor, step: Tensor) -> Tensor:
        """Vary a batch ``[B, 3, side, side]`` in [0, 1]; ``step``, int64 ``[1]``, is its place in the epoch."""
        for (_, vary), drawn in zip(self._kinds, self._drawn, strict=True):
            images = vary(images, drawn[step][0])
        return images
