"""Images as users give them: files, PIL pictures, arrays, tensors; all become what a learner's networks see."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from dfml.data.sources.folder import as_8_bits, read_image
from dfml.errors import DataError, some
from dfml.files.reading import as_path

Picture = str | Path | Image.Image | np.ndarray | Tensor
"""One image: a file; a PIL picture; a tensor ``[3, height, width]``; an array ``[height, width, 3]``, or as a tensor.

Arrays and tensors are uint8, or float in [0, 1].
"""

Pictures = Sequence[Picture] | np.ndarray | Tensor
"""Several: any of these in a list, or an array or tensor with one dimension in front."""

_T = TypeVar("_T")
# By how much float pixels may leave [0, 1] after arithmetic, and by how much they do after a cubic resizing.
_ROUNDING, _OVERSHOOT = 1e-3, 0.3
# Modes that PNG keeps as they are.
_KEPT_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def is_one(images: Picture | Pictures) -> bool:
    """Whether this is one image and no list of images."""
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim == 3
    return isinstance(images, str | Path | Image.Image)


def read_pictures(images: Pictures, side: int) -> Tensor:
    """Images of any size as float in [0, 1], ``[n, 3, side, side]``.

    What is not of that size is resized, and the aspect ratio is not kept, as where data sets are prepared: files, PIL
    pictures and uint8 values by the very function that is used there, floats by an antialiased bilinear filter.

    Raises:
        DataError: there is none, or some cannot be read or are not what :data:`Picture` says; up to 20 are named.
    """
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 3 and 3 not in (images.shape[0], images.shape[-1]):
        raise DataError(
            f"this is of shape {tuple(images.shape)}, neither an image of three channels nor several of them; of "
            "several grey ones make [n, 3, height, width]"
        )
    if is_one(images):
        raise DataError("this is one image where several are wanted; put it into a list")
    if isinstance(images, np.ndarray | Tensor) and images.ndim != 4:
        raise DataError(f"several images have four dimensions, one has three; this is of shape {tuple(images.shape)}")
    if not hasattr(images, "__len__") or isinstance(images, Mapping | Set):
        raise DataError(f"images must be a list, an array or a tensor, not {type(images).__name__}")
    if not len(images):
        raise DataError("there is no image; give at least one")
    return _all_of(images, lambda image: read_picture(image, side))


def read_files(paths: Sequence[Path], side: int) -> Tensor:
    """Pictures in files as uint8 ``[n, 3, side, side]``; raises DataError as :func:`read_pictures` does."""
    return _all_of(paths, lambda path: torch.from_numpy(read_file(path, side).copy()))


def _all_of(images: Iterable[_T], read: Callable[[_T], Tensor]) -> Tensor:
    """All images, or one DataError that names every one that cannot be read."""
    found, problems = [], []
    for position, image in enumerate(images):
        try:
            found.append(read(image))
        except DataError as error:
            problems.append(f"image {position}: {error}")
    if problems:
        raise DataError(some(problems, between="; "))
    return torch.stack(found)


def read_picture(image: Picture, side: int) -> Tensor:
    """One image as float in [0, 1], ``[3, side, side]``; as :func:`read_pictures` does."""
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        raise DataError(f"{image}: nothing is downloaded here; give the path of a copy")
    if isinstance(image, str | Path):
        return _as_float(read_file(as_path(image), side))
    if isinstance(image, Image.Image):
        return _as_float(_read_pil(image, side))
    if not isinstance(image, np.ndarray | Tensor):
        raise DataError(
            f"{type(image).__name__} is no image; give a path, a PIL picture, an array [height, width, 3] or a tensor "
            "[3, height, width]"
        )
    pixels = _channels_first(image)
    if pixels.dtype == torch.uint8:
        if pixels.shape[1:] == (side, side):
            return _as_float(pixels.numpy())
        return _as_float(_read_pil(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), side))
    return _resized(_in_unit_range(pixels), side)


def read_file(path: Path, side: int) -> np.ndarray:
    """The picture in a file as uint8 ``[3, side, side]``.

    Raises:
        DataError: there is no such file, or no picture that can be read is in it.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file")
        if not path.is_file():
            raise DataError(f"{path} is no ordinary file; give the path of a picture")
        return read_image(path, side=side)
    except DataError:
        raise
    except Exception as error:  # a decoder given damaged bytes raises almost anything
        raise DataError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); replace it or leave it out"
        ) from None


def _read_pil(image: Image.Image, side: int) -> np.ndarray:
    """A picture in memory goes the way of a file, so that it is answered like one.

    But for a large JPEG: a file is decoded at a part of its size, which the picture was not, so pixels differ a little.
    """
    if not all(image.size):
        raise DataError(f"it is of size {image.size} and has no pixel")
    if image.mode == "F":
        raise DataError("its floating-point pixels have no agreed range; convert it to 8 bits")
    try:
        upright = as_8_bits(ImageOps.exif_transpose(image))
        if upright.mode not in _KEPT_MODES:
            upright = upright.convert("RGB")
        file = io.BytesIO()
        upright.save(file, "png", compress_level=0)
        file.seek(0)
        return read_image(file, side=side)
    except Exception as error:  # the picture is decoded only now, and its file may be damaged or closed
        raise DataError(f"it cannot be read ({type(error).__name__}: {error})") from None


def _channels_first(image: np.ndarray | Tensor) -> Tensor:
    """``[3, height, width]``, on the CPU."""
    if image.ndim != 3:
        raise DataError(f"one image has three dimensions, this is of shape {tuple(image.shape)}")
    if isinstance(image, Tensor) and (image.is_meta or image.layout is not torch.strided):
        raise DataError("its pixels are not plain numbers in memory: a sparse tensor, or one on the meta device")
    if isinstance(image, Tensor):
        pixels, last = image.detach().cpu(), False
    else:
        last = image.shape[2] == 3
        try:
            pixels = torch.from_numpy(np.array(image, dtype=image.dtype.newbyteorder("=")))
        except TypeError:
            raise DataError(f"an array of {image.dtype} is no image; give uint8, or float in [0, 1]") from None
    pixels = pixels.permute(2, 0, 1) if last else pixels
    if pixels.shape[0] != 3:
        wanted = "[3, height, width]" if isinstance(image, Tensor) else "[height, width, 3]"
        raise DataError(
            f"images have three channels, red, green and blue; this is of shape {tuple(image.shape)}, not {wanted}: "
            "repeat a grey channel three times, leave transparency out"
        )
    if min(pixels.shape) < 1:
        raise DataError(f"it is of shape {tuple(image.shape)} and has no pixel")
    return pixels


def _in_unit_range(pixels: Tensor) -> Tensor:
    if not pixels.is_floating_point():
        raise DataError(f"pixels are uint8, or float in [0, 1]; these are {str(pixels.dtype).removeprefix('torch.')}")
    low, high = (float(value) for value in pixels.aminmax())
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return pixels.float().clamp(0, 1)
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        hint = "bring them into it, as resizing goes beyond it: images.clamp(0, 1)"
    elif low >= 0 and high <= 255:
        hint = "are these values of 0 to 255? Divide by 255, or give them as uint8"
    else:  # also what is not a number
        hint = "give them as they were before any normalisation: the learner normalises by itself"
    raise DataError(f"float pixels lie in [0, 1], these between {low:g} and {high:g}; {hint}")


def _as_float(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).float() / 255


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[1:] == (side, side):
        return pixels
    return F.interpolate(pixels[None], (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
