"""What holds files: their names and sizes without opening them, and their contents in the order that is quickest."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

# A picture of 89 million pixels without compression; no table or label file is near it.
LARGEST_FILE = 2**28
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

# One file's content: its bytes, or pixels uint8 [3, height, width] where the store decodes them itself.
Content = bytes | np.ndarray


class Stored(NamedTuple):
    """A file of a store: its path inside, with ``/``, and its size in bytes."""

    path: str
    size: int


class Store(Protocol):
    """A folder, an archive or several of them.

    Attributes:
        where: What messages name.
        files: All visible files, sorted by path.
        folders: Paths of all visible folders inside.
    """

    where: Path
    files: tuple[Stored, ...]
    folders: frozenset[str]

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        """Contents of these files, in whichever order is quickest.

        Raises:
            DataError: a file cannot be read.
        """
        ...


def is_visible(path: str) -> bool:
    """Whether no part of a path is hidden, or what macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def is_archive(path: Path | str) -> bool:
    """Whether a file's name says that it is an archive that can be read."""
    return str(path).lower().endswith(ARCHIVES)
