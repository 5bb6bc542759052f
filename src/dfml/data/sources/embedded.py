"""The data sets that come with the repository (see ``resources/embedded/PROVENANCE.md``)."""

from pathlib import Path

import numpy as np

from dfml.compute.seeds import numpy_rng
from dfml.data.settings import EMBEDDED_FILES
from dfml.data.sources.colour import colour_masks
from dfml.errors import DataError, FileFormatError
from dfml.files.arrays import read_arrays, texts

SIDE = 32
LICENCE = "renderings of openly licensed art; credits and terms in resources/embedded/ATTRIBUTION.md"


def read_embedded(name: str, resources: Path) -> dict[str, np.ndarray]:
    """Images of an embedded data set, in the order of the file inside every class.

    Grey images are repeated to three channels. ``icons_colour`` is made here from ``icons``: the same
    pictures, each with a small affine jitter and two random colours, the same to the bit every time.

    Args:
        name: ``icons``, ``icons_colour``, ``emoji`` or ``glyphs``.
        resources: The folder that holds the ``.npz`` files (``resources/embedded``).

    Returns:
        uint8 ``[n, 3, 32, 32]`` by class name.

    Raises:
        DataError: no such data set.
        FileFormatError: the file is missing or damaged.
    """
    if name not in EMBEDDED_FILES:
        raise DataError(f"{name!r} is not an embedded data set; choose from {', '.join(sorted(EMBEDDED_FILES))}")
    path = resources / f"{EMBEDDED_FILES[name]}.npz"
    x, y, names = _read(path)
    if name == "icons_colour":
        x = colour_masks(x, numpy_rng(0, "data", name))
    elif x.ndim == 3:
        x = np.broadcast_to(x[:, None], (len(x), 3, SIDE, SIDE))
    else:
        x = x.transpose(0, 3, 1, 2)
    order = np.argsort(y, kind="stable")
    parts = np.split(x[order], np.cumsum(np.bincount(y, minlength=len(names)))[:-1])
    return dict(zip(names, parts, strict=True))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    remedy = "restore it from version control"
    arrays = read_arrays(path, {"x", "y", "names"}, remedy=remedy)
    try:
        x, y, names = arrays["x"], arrays["y"].astype(np.int64), texts(arrays["names"])
    except ValueError as error:
        raise FileFormatError(f"{path} does not hold classes ({error}); {remedy}") from None
    if y.shape != x.shape[:1] or not np.array_equal(np.unique(y), np.arange(len(names))):
        raise FileFormatError(f"{path} does not hold a class for each image; {remedy}")
    if x.dtype != np.uint8 or x.shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 3)):
        raise FileFormatError(f"{path} does not hold {SIDE}x{SIDE} images; {remedy}")
    return x, y, names
