"""Files that are either whole or absent: atomic writes, JSON artefacts, checksums, locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from dfml.errors import DfmlError, FileFormatError

MEBIBYTE = 2**20
# Far more than the largest run writes; what is read may take twenty times as much memory as its text.
LARGEST_JSON = 16 * MEBIBYTE
# Ours have some ten levels; Python's own limits are at hundreds, in whatever function walks through the content next.
DEEPEST_JSON = 64
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def atomic_write(path: Path | str, data: bytes | Callable[[Path], object]) -> None:
    """Write a file so that readers see the old or the new content, never a part of it.

    `data` is the content, or a function that writes it to the path it is given. That path is
    `.{name}.partial` in the same folder, so a writer that goes by the extension (numpy.savez,
    Pillow, matplotlib) needs an open file or an explicit format. The name is fixed because
    some formats store it, and equal content must give equal bytes.

    Raises DfmlError when the disk is full; the old file, if any, is left intact.
    """
    path = Path(path)
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(data):
            data(partial)
        else:
            partial.write_bytes(data)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException as error:
        # Asked before the partial file is removed, while the disk is still as full as it was.
        full = isinstance(error, Exception) and _disk_is_full(error, path.parent)
        partial.unlink(missing_ok=True)
        if not full:
            raise
        free = shutil.disk_usage(path.parent).free / MEBIBYTE
        raise DfmlError(
            f"the disk is full: could not write {path} ({free:.1f} MiB free in {path.parent}); "
            "free some space and run again, what was finished before is kept"
        ) from error


def partial_path(path: Path) -> Path:
    """Return where `atomic_write` collects the content of `path`."""
    return path.with_name(f".{path.name}.partial")


def _disk_is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Native writers (torch, safetensors) report a failed write in their own words only.
    return "No space left" in str(error) or shutil.disk_usage(folder).free < MEBIBYTE // 16


def write_json(path: Path | str, obj: Any) -> None:
    """Write `obj` as readable JSON, atomically.

    Paths become strings, numpy and torch scalars plain numbers, and a number that is not finite
    becomes null, because JSON has no name for it.
    """
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write(path, (text + "\n").encode())


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


def open_ordinary(path: Path | str) -> BinaryIO:
    """Open a file to read its bytes; one that has no end or is waited for, such as a pipe, is refused.

    Raises OSError.
    """
    # Opening a pipe that nobody writes to would wait otherwise; files on disk do not care.
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - returned
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "not an ordinary file")
    return stream


def read_at_most(path: Path | str, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes; raises OSError, also for a larger one."""
    with open_ordinary(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit / MEBIBYTE:.0f} MiB, which no such file should be")
    return content


def read_json(path: Path | str, *, format: str, version: int) -> dict[str, Any]:
    """Read a JSON artefact and check its `format` and `version` entries.

    Whole numbers have 64 bits, others are finite, and no key stands twice.

    Raises FileFormatError for a file that is missing, damaged, foreign, too large, or of another version.
    """
    path = Path(path)
    try:
        obj = _parse(read_at_most(path, LARGEST_JSON))
    except OSError as error:
        raise FileFormatError(f"cannot read {path} ({error.strerror}); run the step that makes it") from error
    except ValueError as error:
        raise FileFormatError(
            f"{path} is not whole JSON ({error}); delete it and run the step that makes it again"
        ) from error
    found = obj.get("format") if isinstance(obj, dict) else None
    if found != format:
        raise FileFormatError(f"{path} is not a {format} file (its format is {found!r}); give the right file")
    if obj.get("version") != version:
        raise FileFormatError(
            f"{path} has {format} version {obj.get('version')!r}, this program reads version "
            f"{version}; make the file again or use the matching dfml"
        )
    return obj


def _parse(content: bytes) -> Any:
    """Parse JSON that may be hostile; raises ValueError."""
    text = content.decode("utf-8-sig")
    if text.count("[") + text.count("{") > DEEPEST_JSON:
        steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)))
        if max(accumulate(steps), default=0) > DEEPEST_JSON:
            raise ValueError(f"nested deeper than {DEEPEST_JSON} levels")
    obj = json.loads(
        text, object_pairs_hook=_distinct, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
    )
    if _HALF_CHARACTER.search(text):
        json.dumps(obj, ensure_ascii=False).encode()  # fails where one half of a character stands alone
    return obj


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if len(obj) < len(pairs):
        raise ValueError("a key is given twice")
    return obj


def _whole(text: str) -> int:
    # As text first: making a number of very many digits takes long.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:20]}… is beyond 64 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def sha256_file(path: Path | str) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with open_ordinary(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def try_lock(name: str) -> int | None:
    """Take the machine-wide lock `name` without waiting.

    Returns a file descriptor, None if the lock is taken. The lock lasts until the descriptor is
    closed or the process ends, however it ends.
    """
    folder = Path(tempfile.gettempdir()) / "dfml-locks"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)  # devices are shared with other users of the machine
    path, flags = folder / f"{name}.lock", os.O_RDONLY | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags | os.O_CREAT, 0o644)
    except PermissionError:  # made by another user: may be opened but not created
        handle = os.open(path, flags)
    with contextlib.suppress(PermissionError):
        os.fchmod(handle, 0o644)  # whatever the umask, others must be able to see that it is taken
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
