"""How files of each form are damaged, digests made to fit, and what is damaged read."""

import json
from collections.abc import Callable
from pathlib import Path

from dfml.errors import DfmlError
from dfml.files.reading import sha256_file
from support.containers import change_archive, change_tensors
from support.mutations import change_bytes, change_json, change_text

BLIND_AND_JSON = (change_bytes, change_json, change_json, change_json)
BLIND_AND_TENSORS = (change_bytes, change_tensors, change_tensors)
BLIND_AND_ARCHIVE = (change_bytes, change_archive, change_archive, change_archive)
BLIND_AND_TEXT = (change_bytes, change_text, change_text)


def mend(manifest: Path, **files: Path) -> None:
    """Put the digests of these files into the manifest, if it is still JSON with such entries."""
    content = manifest.read_bytes()
    try:
        told = json.loads(content)
        for key, file in files.items():
            digest = sha256_file(file)
            if len(told[key]) == len(digest):
                content = content.replace(told[key].encode(), digest.encode())
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    manifest.write_bytes(content)


def all_of(*readers: Callable[[Path], object]) -> Callable[[Path], None]:
    """Reads by each of these, also after one of them refused."""

    def read(folder: Path) -> None:
        refused: DfmlError | None = None
        for reader in readers:
            try:
                reader(folder)
            except DfmlError as error:
                refused = error
        if refused is not None:
            raise refused

    return read
