"""A picture of recovered images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from dfml.files.atomic import atomic_write
from dfml.inversion.meta_generator import Recovered


def save_grid(images: Tensor, path: Path, *, columns: int, scale: int = 2, gap: int = 2) -> None:
    """Write images ``[n, 3, side, side]`` in [0, 1] as a PNG, row by row, enlarged ``scale`` times."""
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy(force=True)
    side = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for index, picture in enumerate(pixels):
        tile = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (gap + (index % columns) * (side + gap), gap + (index // columns) * (side + gap)))
    atomic_write(path, sheet.save)


def rows_of_classes(recovered: Sequence[Recovered], columns: int) -> Tensor:
    """At most ``columns`` images of each class of each recovered task, class after class, ``[n, 3, side, side]``."""
    rows = []
    for item in recovered:
        ways = len(item.model.class_ids)
        per_class = item.images.view(-1, ways, *item.images.shape[1:]).transpose(0, 1)
        rows.append(per_class[:, :columns].flatten(0, 1))
    return torch.cat(rows)
