"""Reading files that may be damaged or hostile: bounded sizes, JSON with bounded contents, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
from io import BufferedReader
from itertools import accumulate
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError, FileFormatError, is_printable

MEBIBYTE = 2**20

# Far more than the largest run writes; what is read may take twenty times as much memory as its text.
LARGEST_JSON = 16 * MEBIBYTE


def as_path(given: Any) -> Path:
    """The path that a user gives, from the home directory where it begins with ``~``.

    Raises:
        DfmlError: it is none.
    """
    if not isinstance(given, str | os.PathLike):
        raise DfmlError(f"a path is wanted, not {type(given).__name__}")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:  # nobody's home
        raise DfmlError(f"{given}: {error}") from None


def open_ordinary(path: Path | str) -> BufferedReader:
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
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit / MEBIBYTE:.0f} MiB, which no such file should be")
        # Of the file's own size: Python sets aside as much memory as is asked for before it reads.
        return stream.read(size)


def read_plain_json(path: Path | str, *, maker: str) -> Any:
    """Read JSON without regard to its format; ``maker`` is what messages say to run.

    Whole numbers have 64 bits, others are finite, and no key stands twice.

    Raises FileFormatError for a file that is missing, damaged or too large.
    """
    try:
        return parse_json(read_at_most(path, LARGEST_JSON))
    except OSError as error:
        raise FileFormatError(f"cannot read {path} ({error.strerror}); run {maker}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is not whole JSON ({error}); delete it and run {maker} again") from error


def read_json(path: Path | str, *, format: str, version: int, maker: str = "the step that makes it") -> dict[str, Any]:
    """Read a JSON artefact as :func:`read_plain_json` does, and check its `format` and `version` entries.

    Raises FileFormatError for a file that is missing, damaged, foreign, too large, or of another version.
    """
    return checked_header(read_plain_json(path, maker=maker), path, format=format, version=version, maker=maker)


def checked_header(obj: Any, path: Path | str, *, format: str, version: int, maker: str) -> dict[str, Any]:
    """Parsed JSON of the file at `path` as it is; raises FileFormatError for another `format` or `version`."""
    found = obj.get("format") if isinstance(obj, dict) else None
    if found != format:
        raise FileFormatError(
            f"{path} is not a {format} file (its format is {found!r}); give the right file, or run {maker} again"
        )
    if obj.get("version") != version:
        raise FileFormatError(
            f"{path} has {format} version {obj.get('version')!r}, this program reads version "
            f"{version}; run {maker} again or use the matching dfml"
        )
    return obj


def sha256_file(path: Path | str) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with open_ordinary(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Ours have some ten levels; Python's own limits are at hundreds, in whatever function walks through the content next.
DEEPEST_JSON = 64
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(content: bytes) -> Any:
    """Parse JSON that may be hostile; raises ValueError."""
    text = content.decode("utf-8-sig")
    if text.count("[") + text.count("{") > DEEPEST_JSON:
        brackets = re.finditer(r"[\[\]{}]", _STRING.sub("", text))
        depths = accumulate(1 if bracket.group() in "[{" else -1 for bracket in brackets)
        if any(depth > DEEPEST_JSON for depth in depths):
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


def digest_json(obj: Any) -> str:
    """Return the hexadecimal SHA-256 of plain JSON data; the order of keys does not matter."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


LONGEST_TEXT = 1_000

# What a file system allows for one name: names of classes, data sets and pools become names of folders.
LONGEST_NAME = 255


def is_name(text: str) -> bool:
    """Whether a text can be a `Name`."""
    return 0 < len(text) <= LONGEST_NAME and is_printable(text)
