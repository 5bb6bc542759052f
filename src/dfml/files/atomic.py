"""Files that are either whole or absent: atomic writes, locks, and times that do not lie ahead."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError
from dfml.files.reading import MEBIBYTE

PARTIAL = ".partial"
"""How the names of folders end in which a file is being written."""

_LOCK = ".lock"


def atomic_write(path: Path | str, data: bytes | Callable[[Path], object]) -> None:
    """Write a file so that readers see the old or the new content, never a part of it.

    `data` is the content, or a function that writes it to the path it is given. That path has
    the same name, which some formats store and others go by, in a hidden folder of its own
    beside the file: two processes that write one file do not meet.

    Raises DfmlError when the disk is full or writing is not permitted, and IsADirectoryError where a folder is; the old
    file, if any, is left intact.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with _failed_write_said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _failed_write_said(path), _private_folder(path) as (folder, mode), _failed_write_said(path):
        partial = folder / path.name
        if callable(data):
            data(partial)
        else:
            partial.write_bytes(data)
        with partial.open("rb") as stream:
            with _where_possible():
                os.fchmod(stream.fileno(), mode)  # some writers keep others out whatever the umask
            os.fsync(stream.fileno())
        for check in _checks:
            check()
        os.replace(partial, path)


@contextlib.contextmanager
def _where_possible() -> Iterator[None]:
    """Go on where a file system has no modes or no locks, as some of networks; a lock that is taken still fails."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError:
        pass


_checks: list[Callable[[], object]] = []


@contextlib.contextmanager
def before_each_write(check: Callable[[], object]) -> Iterator[None]:
    """Call `check` whenever `atomic_write` is about to put a file into place; what it raises stops that."""
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


@contextlib.contextmanager
def _failed_write_said(path: Path) -> Iterator[None]:
    """Turn what a full disk or a locked folder makes of writing `path` into one clear error.

    Asked while the disk is still as full.
    """
    try:
        yield
    except DfmlError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DfmlError(
                f"no permission to write {path} ({error.strerror}); make its folder writable and run again"
            ) from error
        folder = next(folder for folder in path.absolute().parents if folder.is_dir())
        if not _disk_is_full(error, folder):
            raise
        free = shutil.disk_usage(folder).free / MEBIBYTE
        raise DfmlError(
            f"the disk is full: could not write {path} ({free:.1f} MiB free in {folder}); "
            "free some space and run again, what was finished before is kept"
        ) from error


@contextlib.contextmanager
def _private_folder(path: Path) -> Iterator[tuple[Path, int]]:
    """A folder `.{name}.….partial` beside `path` for one writer, which holds a lock on it while it lives.

    Given with the mode that a new file gets by the umask.
    """
    _remove_abandoned(path)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            with _where_possible():  # without locks nothing is ever taken for abandoned
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():
                break
            os.close(lock)
        # Until it was locked, another writer could take it for abandoned: make one more.
    try:
        yield folder, stat.S_IMODE(os.fstat(lock).st_mode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of `path` left behind."""
    with os.scandir(path.parent) as entries:
        left = [e.path for e in entries if e.name.startswith(f".{path.name}.") and e.name.endswith(PARTIAL)]
    for folder in left:
        with contextlib.suppress(OSError):  # at work, gone by now, or not ours to remove
            lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _disk_is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Native writers (torch, safetensors) report a failed write in their own words only.
    return "No space left" in str(error) or shutil.disk_usage(folder).free < MEBIBYTE // 16


def write_json(path: Path | str, obj: Any) -> None:
    """Write `obj` as readable JSON, atomically."""
    atomic_write(path, as_json(obj))


def as_json(obj: Any) -> bytes:
    """`obj` as readable JSON.

    Paths become strings, numpy and torch scalars plain numbers, and a number that is not finite
    becomes null, because JSON has no name for it.
    """
    return (json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def try_lock(name: str) -> int | None:
    """Take the machine-wide lock `name` without waiting.

    Returns a file descriptor, None if the lock is taken. The lock lasts until the descriptor is
    closed or the process ends, however it ends. On a file system without locks nothing is ever taken.
    """
    folder = Path(tempfile.gettempdir()) / "dfml-locks"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        with _where_possible():
            folder.chmod(0o1777)  # devices are shared with other users of the machine
    path, flags = folder / f"{name}.lock", os.O_RDONLY | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags | os.O_CREAT, 0o644)
    except PermissionError:  # made by another user: may be opened but not created
        handle = os.open(path, flags)
    with _where_possible():
        os.fchmod(handle, 0o644)  # whatever the umask, others must be able to see that it is taken
    try:
        with _where_possible():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def bring_to_present(folder: Path) -> None:
    """Give every file below ``folder`` that was changed in the future the present time.

    All of them get the same, so that none becomes newer than another that was made of it.
    """
    now = time.time_ns()
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):  # a run that is going on removes files; others' files stay as they are
                if os.lstat(path).st_mtime_ns > now:
                    os.utime(path, ns=(now, now), follow_symlinks=False)
