"""How recovered images reach a model: moved at random, at the model's own resolution, normalised."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dfml.compute.placement import laid_out
from dfml.imaging.crop_flip import Moves, draw_moves, move
from dfml.zoo.pool import PoolModel


@dataclass(frozen=True)
class Views:
    """The augmentation of recovered images (docs/method.md §3.2).

    Args:
        crop_padding: largest shift of the random crop, pixels; 0 switches crop and flip off.
        per_sample: draw a shift and a flip for each image, not one for a batch (F17).
        resize: for a model that sees smaller images than are recovered: ``bilinear`` shows it the whole image reduced,
            ``crop`` a random window of its own side, as the published code does (F18).
    """

    crop_padding: int
    per_sample: bool
    resize: Literal["bilinear", "crop"] = "bilinear"

    def draw(self, *batches: int, images: int, canvas: int, side: int, draws: torch.Generator) -> Moves:
        """The moves of batches of ``images`` made at ``canvas`` pixels for a model that sees ``side``."""
        moves = draw_moves(
            *batches,
            images=images,
            padding=self.crop_padding,
            flip=self.crop_padding > 0,
            per_sample=self.per_sample,
            generator=draws,
        )
        slack = canvas - side if self.resize == "crop" else 0
        if not slack:
            return moves
        size = moves.shift.shape
        low, high = -self.crop_padding, slack + self.crop_padding + 1
        return Moves(torch.randint(low, high, size, generator=draws, device=draws.device), moves.mirrored)

    def inputs(self, model: PoolModel, images: Tensor, moves: Moves) -> Tensor:
        """What ``model`` sees of images ``[B, 3, canvas, canvas]`` in [0, 1]: ``[B, 3, side, side]``, normalised."""
        if self.resize == "crop" and images.shape[-1] != model.side:
            plain = Moves(moves.shift, torch.zeros_like(moves.mirrored))
            window = move(images, plain)[..., : model.side, : model.side]
            views = move(window, Moves(torch.zeros_like(moves.shift), moves.mirrored))
        else:
            views = move(images, moves) if self.crop_padding else images
        return laid_out(model.inputs(views))
