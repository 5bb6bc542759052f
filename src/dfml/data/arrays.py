"""Reading of ``.npz`` archives that may be damaged, foreign or hostile."""

import math
import zipfile
from collections.abc import Set
from pathlib import Path

import numpy as np

from dfml.errors import FileFormatError, is_printable
from dfml.formats import LONGEST_TEXT
from dfml.runtime.archives import open_archive
from dfml.runtime.files import open_ordinary

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: Path, names: Set[str], *, remedy: str) -> dict[str, np.ndarray]:
    """Read the arrays ``names`` of an archive; others are ignored, and pickled objects never read.

    Nothing is allocated for an array before its member is seen to be as long as its header says.

    Args:
        path: The ``.npz`` file.
        names: Arrays that it must hold.
        remedy: What to do about a file that is not right; ends the message.

    Raises:
        FileFormatError: the file is missing, truncated, changed, or lacks some of the arrays.
    """
    try:
        with open_ordinary(path) as stream, open_archive(stream) as archive:
            if any(set(member.filename) & set("/\\") for member in archive.infolist()):
                raise ValueError("a member is named like a path")
            missing = names - {member.filename.removesuffix(".npy") for member in archive.infolist()}
            arrays = {name: _read(archive, f"{name}.npy") for name in names - missing}
    except FileNotFoundError:
        raise FileFormatError(f"{path} is missing; {remedy}") from None
    except MemoryError:
        raise  # the file is what it says, and the machine too small for it
    except Exception as error:  # zipfile and numpy fail in as many ways as damaged files have bytes
        raise FileFormatError(f"{path} is truncated or not an archive of arrays ({error}); {remedy}") from error
    if missing:
        raise FileFormatError(f"{path} is a foreign file: it has no {', '.join(sorted(missing))}; {remedy}")
    return arrays


def texts(array: np.ndarray) -> list[str]:
    """The texts of an array, each one line of bounded length.

    Raises:
        ValueError: it holds something else.
    """
    if array.dtype.kind != "U":
        raise ValueError("texts are wanted")
    found = [str(text) for text in array.flat]
    if not all(len(text) <= LONGEST_TEXT and is_printable(text) for text in found):
        raise ValueError("a text is too long or cannot be printed")
    return found


def whole(array: np.ndarray) -> int | None:
    """The number of an array that is one whole number; None for any other."""
    return int(array) if array.shape == () and array.dtype.kind in "iu" else None


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        shape, _, dtype = _HEADERS[version](member)
        left = archive.getinfo(name).file_size - member.tell()
    if dtype.hasobject or dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"{name} is not as long as it says")
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)
