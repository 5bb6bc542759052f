"""Ordinary image files: which are read, how one becomes an array, and folders of them."""

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dfml.data.sources.store import LARGEST_FILE, Content, Stored, is_visible
from dfml.errors import DataError, some
from dfml.files.reading import read_at_most

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# Decoders for these, whatever a file is called: Pillow knows others, one of which hands the file to Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF")
# Pillow warns of more and refuses twice as many.
MOST_PIXELS = 89_478_485
# Levels of folders below a data set's own; a link that leads back up would have no end.
_DEEPEST = 6
# What EXIF's orientation asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_log = logging.getLogger(__name__)


class Folder:
    """All visible files below a directory; links are followed."""

    def __init__(self, root: Path) -> None:
        self.where = root
        files: list[Stored] = []
        folders: list[str] = []
        try:
            self._collect("", files, folders, 0)
        except OSError as error:
            raise DataError(
                f"{error.filename or root} cannot be listed ({error.strerror}); make it readable"
            ) from error
        self.files, self.folders = tuple(sorted(files)), frozenset(folders)

    def _collect(self, inside: str, files: list[Stored], folders: list[str], depth: int) -> None:
        with os.scandir(self.where / inside) as entries:
            for entry in entries:
                if not is_visible(entry.name):
                    continue
                path = f"{inside}{entry.name}"
                if entry.is_dir():
                    folders.append(path)
                    if depth < _DEEPEST:
                        self._collect(f"{path}/", files, folders, depth + 1)
                elif entry.is_file() or entry.is_symlink():
                    # A link to nothing is a file as well: who reads it says so, and no image is missed without a word.
                    files.append(Stored(path, entry.stat(follow_symlinks=entry.is_file()).st_size))

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        """Contents of these files in their order; those that cannot be read are named in a DataError at the end."""
        unreadable = []
        for path in paths:
            try:
                content = read_at_most(self.where / path, LARGEST_FILE)
            except OSError as error:
                unreadable.append(f"{self.where / path} cannot be read ({error.strerror})")
            else:
                yield path, content
        if unreadable:
            raise DataError(f"{some(unreadable)}; mend or remove {'it' if len(unreadable) == 1 else 'them'}")


def is_image(path: str) -> bool:
    """Whether a file's extension is that of an image that is read; case does not matter."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS


def read_image(file: Path | BinaryIO, *, side: int) -> np.ndarray:
    """One image as uint8 ``[3, side, side]``.

    It becomes 8-bit RGB: turned as its EXIF orientation says, if that can be read, transparency laid over white, 16-bit
    grey scaled to 8 bits, the first frame of an animation. It is then resized to ``side`` x ``side`` with an area-aware
    bilinear filter; the aspect ratio is not kept. JPEG of more than four times the side is decoded at half, a quarter
    or an eighth of its size, which is never below twice the side.

    Raises:
        Exception: whatever the decoder makes of a damaged file.
    """
    try:
        opening = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:  # which names the address of what was given
        raise ValueError(f"it is none of {', '.join(FORMATS)}; save it as one of these, a HEIC photo as JPEG") from None
    with opening as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels are more than {MOST_PIXELS}")
        opened.draft(None, (2 * side, 2 * side))
        opened.load()
        image = _as_rgb(opened)
        if (turn := _turn(opened)) is not None:
            image = image.transpose(turn)
    return as_square(image, side)


def as_square(image: Image.Image, side: int) -> np.ndarray:
    """An RGB image resized to uint8 ``[3, side, side]``."""
    resized = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # a block of any bytes; the pixels are whole and were decoded before
        _log.debug("EXIF that cannot be read (%s): the image is not turned", error)
        return None


def as_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey; Pillow's own conversion would cut everything above 255 to white.

    Raises ValueError for pixels of more bits, which may be of any range.
    """
    if image.mode in ("F", "I"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueError(f"{kind} pixels have no agreed range; save it with 8 or 16 bits")
    if not image.mode.startswith("I;16"):
        return image
    exact = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((exact + 128) // 257).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray((255 * (exact != clear)).astype(np.uint8)))
    return grey


def _as_rgb(image: Image.Image) -> Image.Image:
    image = as_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
