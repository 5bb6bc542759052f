"""Images inside a .zip or .tar, read without unpacking: nothing is ever written to disk."""

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from dfml.data.sources.store import LARGEST_FILE, Content, Stored, is_visible
from dfml.errors import DataError
from dfml.files.reading import MEBIBYTE

# Pictures are compressed already. Far more than archives of them reach, and room for small ones.
MOST_INFLATION = 100
SMALLEST_BOUND = 256 * MEBIBYTE
MOST_MEMBERS = 5_000_000
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


class _Members:
    """Collects the members of an archive and refuses what no archive of pictures has."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.files: dict[str, Stored] = {}
        self.folders: set[str] = set()
        self._bound = max(SMALLEST_BOUND, MOST_INFLATION * where.stat().st_size)
        self._total = self._count = 0

    def refuse(self, why: str) -> NoReturn:
        raise DataError(f"{self.where} {why}; get it anew, or unpack it yourself and name the folder")

    def count(self, size: int) -> None:
        """Take note of one more member before its content is passed over, which may mean inflating it."""
        self._count, self._total = self._count + 1, self._total + size
        if size < 0 or self._total > self._bound:
            self.refuse(
                f"says that it holds more than {self._bound / MEBIBYTE:.0f} MiB, which no archive of its size does"
            )
        if self._count > MOST_MEMBERS:
            self.refuse(f"has more than {MOST_MEMBERS} members")

    def add(self, name: str, size: int, *, ordinary: bool, folder: bool) -> bool:
        """Take up a member if it is a visible file; says whether it is."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            self.refuse(f"has a member that is named out of it, {name!r}")
        path = "/".join(parts)
        if not path or not is_visible(path):
            return False
        parents = path.split("/")[: None if folder else -1]
        self.folders.update("/".join(parents[: n + 1]) for n in range(len(parents)))
        if folder:
            return False
        if not ordinary:
            self.refuse(f"has a member that is a link or no file, {name!r}")
        if size > LARGEST_FILE:
            self.refuse(f"has a member of {size / MEBIBYTE:.0f} MiB, {name!r}")
        if path in self.files:
            self.refuse(f"has two members called {path!r}")
        self.files[path] = Stored(path, size)
        return True


class Zip:
    """The files of a .zip."""

    def __init__(self, path: Path) -> None:
        self.where = path
        members = _Members(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        with _whole(path), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                members.count(info.file_size)
                if info.compress_size > path.stat().st_size:
                    members.refuse(f"has a member that is larger than itself, {info.filename!r}")
                mode = info.external_attr >> 16
                ordinary = stat.S_IFMT(mode) in (0, stat.S_IFREG)
                name = info.filename.replace("\\", "/")  # as some packers on Windows write it
                folder = name.endswith("/")  # its own `is_dir` fails on a member without a name
                if members.add(name, info.file_size, ordinary=ordinary, folder=folder):
                    if info.flag_bits & 1:
                        members.refuse("is encrypted")
                    self._members[next(reversed(members.files))] = info
        self.files, self.folders = tuple(sorted(members.files.values())), frozenset(members.folders)

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        """Contents in the order of the archive; each is checked against its checksum."""
        with _whole(self.where), zipfile.ZipFile(self.where) as archive:
            for path in sorted(paths, key=lambda path: self._members[path].header_offset):
                yield path, archive.read(self._members[path])


class Tar:
    """The files of a .tar, also one that is compressed by gzip."""

    def __init__(self, path: Path) -> None:
        self.where = path
        members = _Members(path)
        self._places: dict[str, tuple[int, int]] = {}
        with _whole(path), _opened(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            while (info := archive.next()) is not None:
                members.count(info.size)
                # A sparse file's size is not what it takes in the archive.
                ordinary = info.isreg() and not info.issparse()
                if members.add(info.name, info.size, ordinary=ordinary, folder=info.isdir()):
                    self._places[next(reversed(members.files))] = (info.offset_data, info.size)
                cast(Any, archive).members = []  # tarfile keeps all it has seen
            stream.seek(archive.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("it has no end")
            while rest := stream.read(MEBIBYTE):  # to the end of what gzip has a checksum of
                members.count(len(rest))
        self.files, self.folders = tuple(sorted(members.files.values())), frozenset(members.folders)

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        """Contents in the order of the archive, which is inflated once."""
        with _whole(self.where), _opened(self.where) as stream:
            for path in sorted(paths, key=self._places.__getitem__):
                place, size = self._places[path]
                stream.seek(place)
                content = stream.read(size)
                if len(content) < size:
                    raise EOFError("it ends early")
                yield path, content


class _Bounded:
    """A stream that never gives more at once than a member may have: headers of a .tar may ask for any amount."""

    def __init__(self, stream: gzip.GzipFile | BufferedReader) -> None:
        self._stream = stream

    def __enter__(self) -> "_Bounded":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_FILE + tarfile.BLOCKSIZE:
            raise EOFError("a header asks for more than any picture has")
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()


def _opened(path: Path) -> BinaryIO:
    compressed = path.name.lower().endswith((".gz", ".tgz"))
    return cast(BinaryIO, _Bounded(gzip.GzipFile(path) if compressed else path.open("rb")))


class _whole:
    """Turns what a damaged archive makes of its reader into one clear error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{self._path} cannot be read ({error.strerror}); make it readable") from error
        if isinstance(error, (*_DAMAGED, RuntimeError)):
            raise DataError(
                f"{self._path} is no whole archive ({type(error).__name__}: {error}), perhaps a download that was "
                "cut off; get it anew"
            ) from error
