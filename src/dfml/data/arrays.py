"""Reading of ``.npz`` archives that may be damaged or foreign."""

import zipfile
from collections.abc import Set
from pathlib import Path

import numpy as np

from dfml.errors import FileFormatError


def read_arrays(path: Path, names: Set[str], *, remedy: str) -> dict[str, np.ndarray]:
    """Read the arrays ``names`` of an archive; others are ignored, and pickled objects never read.

    Args:
        path: The ``.npz`` file.
        names: Arrays that it must hold.
        remedy: What to do about a file that is not right; ends the message.

    Raises:
        FileFormatError: the file is missing, truncated, changed, or lacks some of the arrays.
    """
    try:
        # Opened here, because numpy leaves its own handle open when the archive is damaged.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            missing = names - set(stored.files)
            arrays = {name: stored[name] for name in names - missing}
    except FileNotFoundError:
        raise FileFormatError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        # TypeError: a bare .npy array, which is no archive.
        raise FileFormatError(f"{path} is truncated or not an archive of arrays ({error}); {remedy}") from error
    if missing:
        raise FileFormatError(f"{path} is a foreign file: it has no {', '.join(sorted(missing))}; {remedy}")
    return arrays
