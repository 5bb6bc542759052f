"""A picture of recovered images."""

from pathlib import Path

from PIL import Image
from torch import Tensor

from dfml.runtime.files import atomic_write


def save_grid(images: Tensor, path: Path, *, columns: int, scale: int = 2, gap: int = 2) -> None:
    """Write images ``[n, 3, side, side]`` in [0, 1] as a PNG, row by row, enlarged ``scale`` times."""
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy(force=True)
    side = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for index, picture in enumerate(pixels):
        tile = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (gap + (index % columns) * (side + gap), gap + (index // columns) * (side + gap)))
    atomic_write(path, lambda partial: sheet.save(partial, format="PNG"))
