"""Digests of the contents of many files, read again only where a file may have changed."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from dfml.errors import DfmlError, FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.reading import read_plain_json, sha256_file


def content_digests(files: Sequence[Path], memory: Path) -> list[str]:
    """The SHA-256 of every file's content, empty for one that cannot be read.

    ``memory`` keeps them with what the system says of each file, which changes when somebody writes to it or puts
    another in its place. A copy elsewhere is read anew and has the same digests.
    """
    known = _remembered(memory)
    found = {str(file.absolute()): _found(file, known) for file in files}
    if any(known.get(path) != entry for path, entry in found.items()):
        with contextlib.suppress(OSError, DfmlError):  # then they are read again the next time
            atomic_write(memory, json.dumps(found).encode())
    return [digest for _, digest in found.values()]


def _found(file: Path, known: dict[str, list[str]]) -> list[str]:
    try:
        status = file.stat()
        stated = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        before = known.get(str(file.absolute()))
        return before if before and before[0] == stated else [stated, sha256_file(file)]
    except OSError:
        return ["", ""]


def _remembered(memory: Path) -> dict[str, list[str]]:
    try:
        known = read_plain_json(memory, maker="the workflow")
    except FileFormatError:
        return {}
    right = isinstance(known, dict) and all(isinstance(entry, list) and len(entry) == 2 for entry in known.values())
    return known if right else {}
