"""Which store a path of the configuration means, and a digest of what lies there."""

import os
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

from dfml.data.sources.archives import Tar, Zip
from dfml.data.sources.cifar import PICKLES
from dfml.data.sources.folder import EXTENSIONS, Folder
from dfml.data.sources.lists import LABELS
from dfml.data.sources.store import ARCHIVES, Content, Store, Stored, is_archive
from dfml.errors import DataError
from dfml.files.contents import content_digests
from dfml.files.reading import digest_json

# Files beside images that say which class they are of; files of CIFAR-100 have no extension.
_TOLD = (".csv", ".mat")


class _Several:
    """Archives that lie side by side and are read as if they were one."""

    def __init__(self, where: Path, stores: Sequence[Store]) -> None:
        self.where = where
        self._stores = stores
        self.files = tuple(sorted(chain.from_iterable(store.files for store in stores)))
        self.folders = frozenset(chain.from_iterable(store.folders for store in stores))
        paths = [file.path for file in self.files]
        if len(set(paths)) < len(paths):
            names = ", ".join(store.where.name for store in stores)
            raise DataError(f"{where}: {names} hold files of the same names; let `path` name one of them")

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        wanted = set(paths)
        for store in self._stores:
            yield from store.read([file.path for file in store.files if file.path in wanted])


def open_store(path: Path) -> Store:
    """The folder or archive that ``path`` names, or the archives in a folder that holds no images.

    Raises:
        DataError: it is not there, is neither, or is damaged.
    """
    # os.path: of a name that no file can have, such as one too long, pathlib raises an OSError.
    if os.path.isdir(path):
        folder = Folder(path)
        return folder if _holds_images(folder) else _archives_of(folder) or folder
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist; `path` must name a folder of images or an archive of them")
    if not path.is_file() or not is_archive(path):
        raise DataError(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)}); `path` must name one")
    return Zip(path) if path.name.lower().endswith(".zip") else Tar(path)


def fingerprint(path: Path, memory: Path) -> str:
    """Digest of names and contents of all files that the images of a data set may be made from, labels beside included.

    ``memory`` is a file that keeps the digests of contents, so that a file is read again only when the system says that
    it changed. Nothing is decoded or unpacked.

    Raises:
        DataError: the folder cannot be listed.
    """
    beside = [file for file in (path.parent / LABELS,) if os.path.isfile(file)]
    if not path.is_dir():
        return digest_json([path.name, *content_digests([path, *beside], memory)])
    names = [file.path for file in Folder(path).files if _matters(file)]
    digests = content_digests([*(path / name for name in names), *beside], memory)
    return digest_json(list(zip([*names, *(f"../{file.name}" for file in beside)], digests, strict=True)))


def _holds_images(folder: Folder) -> bool:
    suffixes = {Path(file.path).suffix.lower() for file in folder.files}
    return bool(suffixes & EXTENSIONS)


def _archives_of(folder: Folder) -> Store | None:
    stores = [open_store(folder.where / f.path) for f in folder.files if is_archive(f.path)]
    return stores[0] if len(stores) == 1 else _Several(folder.where, stores) if stores else None


def _matters(file: Stored) -> bool:
    path = Path(file.path)
    return path.suffix.lower() in {*EXTENSIONS, *_TOLD} or is_archive(path) or path.name in PICKLES
