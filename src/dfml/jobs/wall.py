"""The data-free wall: between zoo and evaluation no real image can be read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from dfml.artefacts.images import SPLITS
from dfml.errors import DfmlError


class WallError(DfmlError):
    """Real images were about to be read where only the zoo may be used."""


_lock = threading.Lock()
_walls: list[frozenset[str]] = []  # the roots of every wall that stands

# Opening covers numpy, Pillow, mmap and whatever else reads from Python; linking or renaming
# would give an image a name outside.
_EVENTS = frozenset({"open", "os.link", "os.rename"})


@contextmanager
def data_free_wall(roots: Sequence[Path | str]) -> Iterator[None]:
    """Make every opening of a file under one of `roots` raise WallError.

    Holds for all threads of the process and for symbolic links and relative paths. Walls nest:
    their roots add up. Not seen are files that were opened before, native libraries that open
    files without Python, and processes started from scratch: the wall guards against mistakes,
    not against intent.
    """
    # Both spellings: a root may itself be a link, and a link may lie inside a root.
    wall = frozenset(spell(root) for root in roots for spell in (os.path.abspath, os.path.realpath))
    with _lock:
        _install()
        _walls.append(wall)
    try:
        yield
    finally:
        with _lock:
            _walls.remove(wall)


@cache
def _install() -> None:
    sys.addaudithook(_audit)  # once, as it cannot be removed


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _walls or event not in _EVENTS:
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a descriptor: its file was opened, and checked, before
    name = os.fsdecode(path)
    spellings = (os.path.abspath(name), os.path.realpath(name))
    for root in frozenset().union(*_walls):
        if any(one == root or one.startswith(root.rstrip(os.sep) + os.sep) for one in spellings):
            raise WallError(
                f"{name} lies behind the data-free wall ({root}): from the zoo up to evaluation only "
                "models may be used; take recovered images from the bank"
            )


EMBEDDED = Path("resources/embedded")


def real_image_folders(
    experiment: str, datasets: Mapping[str, str | None], *, but: Collection[Path] = ()
) -> list[Path]:
    """The embedded images, the prepared images of the experiment, and every folder a data set is read from.

    Args:
        experiment: Name of the experiment.
        datasets: The user's folder of every data set by name, None for an embedded one.
        but: Prepared folders whose meta-train images may be read; then those of the other data sets are listed one by
            one, and of these the images of meta-val and meta-test.
    """
    folders = [Path(os.path.expanduser(path)) for path in datasets.values() if path]  # also a home that is not here
    prepared = Path("results", experiment, "images")
    if but:
        whole = [prepared / name for name in datasets if prepared / name not in but]
        return [EMBEDDED, *whole, *(folder / f"{part}.npz" for folder in but for part in SPLITS[1:]), *folders]
    return [EMBEDDED, prepared, *folders]
