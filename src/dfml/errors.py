"""Errors that a user can act on: the message names the key or file and the remedy."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# Control characters, halves of surrogate pairs, breaks of lines that are none to a text editor, and marks that turn the
# direction of what follows: a terminal obeys them, or shows something else than what is there.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Long enough for every problem of a configuration; a damaged file may be quoted at any length.
_LONGEST = 20_000


def is_printable(text: str) -> bool:
    """Whether a terminal shows the text, and no more than shows it."""
    return _UNPRINTABLE.search(text) is None


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with what is not printable as an escape such as ``\x1b``; with ``lines``, ends of lines are kept."""

    def escape(found: re.Match[str]) -> str:
        character = found.group()
        return character if lines and character == "\n" else character.encode("unicode_escape").decode()

    return _UNPRINTABLE.sub(escape, text)


def some(told: Iterable[str], most: int = 20, *, between: str = ", ") -> str:
    """A list for a message: the first ``most``, and how many more there are."""
    every = list(told)
    more = len(every) - most
    last = f"and {more} more" if more > 0 else ""
    return between.join(every[:most]) + (f"{' ' if between == ', ' else between}{last}" if last else "")


class DfmlError(Exception):
    """Base class; shown to users as one line without a traceback.

    Messages quote file names and contents, which may come from anybody: as text they are printable and not endless.
    """

    _lines = True

    def __str__(self) -> str:
        text = printable(super().__str__(), lines=self._lines)
        half = _LONGEST // 2
        return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


class ConfigError(DfmlError):
    """The configuration is wrong."""


class DataError(DfmlError):
    """Images or class splits are missing, damaged or too few."""

    _lines = False


class FileFormatError(DfmlError):
    """A file of ours is missing, truncated, foreign or of another version."""

    _lines = False


@contextmanager
def without_log(name: str, *, below: int = logging.CRITICAL) -> Iterator[None]:
    """Without what a library logs ``below`` a level, where that is told otherwise or has no part in it."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(below)
    try:
        yield
    finally:
        log.setLevel(before)
