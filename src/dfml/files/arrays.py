"""Reading of ``.npz`` archives that may be damaged, foreign or hostile."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Set
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dfml.errors import FileFormatError, is_printable
from dfml.files.reading import LONGEST_TEXT, open_ordinary

# Ours are not compressed, but for the embedded images: 12 MiB each.
LARGEST_INFLATED = 256 * 2**20


def open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    """Open an archive whose members, all together, are no more than the file can hold.

    Members that are compressed may inflate to `LARGEST_INFLATED`.

    Raises:
        ValueError: members overlap, share a name, are encrypted, or inflate to more.
        Exception: whatever `zipfile` makes of damaged bytes.
    """
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two members of one name")
    stored = [member for member in members if member.compress_type == zipfile.ZIP_STORED]
    packed = [member for member in members if member.compress_type == zipfile.ZIP_DEFLATED]
    if len(stored) + len(packed) < len(members) or any(member.flag_bits & 1 for member in members):
        raise ValueError("members are encrypted or packed in an unusual way")
    if any(member.file_size != member.compress_size for member in stored):
        raise ValueError("a member's two sizes differ")
    if sum(member.compress_size for member in members) > os.fstat(stream.fileno()).st_size:
        raise ValueError("its members would not fit into the file")
    if sum(member.file_size for member in packed) > LARGEST_INFLATED:
        raise ValueError(f"it inflates to more than {LARGEST_INFLATED >> 20} MiB")
    return archive


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
