"""A directory with one sub-folder of ordinary image files per class."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dfml.errors import DataError
from dfml.files.reading import LONGEST_NAME, is_name

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
LICENCE = "not known to dfml: images of the user's folder"
# Decoders for these, whatever a file is called: Pillow knows others, one of which hands the file to Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF")
_SHOWN = 20
_log = logging.getLogger(__name__)


def list_classes(root: Path) -> dict[str, list[Path]]:
    """Image files of every class, without opening them.

    Classes are the direct sub-folders of ``root`` and images the files directly inside with a known
    extension (case does not matter), both sorted by code point. Names that begin with a dot are ignored.

    Raises:
        DataError: ``root`` is no directory, or there are no sub-folders or no images in them.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; `path` must name one with a sub-folder for each class")
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=_name)
    if not folders:
        raise DataError(f"{root} has no sub-folders; put the images of each class into one named after it")
    if odd := [folder.name for folder in folders if not is_name(folder.name)]:
        raise DataError(
            f"{root}: names of classes have up to {LONGEST_NAME} characters, all printable; rename {', '.join(odd)}"
        )
    classes = {folder.name: _images(folder) for folder in folders}
    if not any(classes.values()):
        raise DataError(
            f"{root}: its sub-folders hold no image files ({', '.join(sorted(EXTENSIONS))}); "
            "`path` must be the folder directly above the class folders"
        )
    return classes


def read_classes(files: Mapping[str, Sequence[Path]], *, side: int) -> dict[str, np.ndarray]:
    """Decode the images of every class.

    Every image becomes 8-bit RGB: turned as its EXIF orientation says, transparency laid over white, 16-bit
    grey scaled to 8 bits, the first frame of an animation. It is then resized to ``side`` x ``side`` with an
    area-aware bilinear filter; the aspect ratio is not kept.

    Args:
        files: At least one image file for each class name.
        side: Height and width of the result, in pixels.

    Returns:
        uint8 ``[n, 3, side, side]`` by class name, in the order of ``files``.

    Raises:
        DataError: images cannot be read; all are tried and up to 20 of them named.
    """
    arrays: dict[str, np.ndarray] = {}
    broken: list[str] = []
    for name, paths in files.items():
        images = []
        for path in paths:
            try:
                images.append(read_image(path, side=side))
            except Exception as error:  # a decoder given damaged bytes raises almost anything
                broken.append(f"{path} ({type(error).__name__}: {error})")
        if images:
            arrays[name] = np.stack(images)
        _log.info("class %s: %d images", name, len(images))
    if broken:
        more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise DataError(f"images that cannot be read: {', '.join(broken[:_SHOWN])}{more}; replace or remove them")
    return arrays


def read_image(path: Path, *, side: int) -> np.ndarray:
    """One image file as uint8 ``[3, side, side]``; see `read_classes` for what is done to it.

    Raises:
        Exception: whatever the decoder makes of a damaged file.
    """
    with warnings.catch_warnings():
        # A hundred megapixels or so; Pillow itself refuses twice as many.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as opened:
            image = _as_rgb(ImageOps.exif_transpose(opened))
    resized = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion would cut everything above 255 to white.
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _images(folder: Path) -> list[Path]:
    files = (p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
    return sorted((p for p in files if p.is_file()), key=_name)


def _name(path: Path) -> str:
    return path.name
