"""Pages that a person writes, with a part between two markers that a command writes."""

from __future__ import annotations

from pathlib import Path

from dfml.errors import FileFormatError


def with_block(page: Path, block: str, *, name: str) -> tuple[str, str]:
    """The text of ``page`` as it is, and with ``block`` between its markers.

    The markers are the comments ``<!-- table:NAME:begin -->`` and ``<!-- table:NAME:end -->``; everything outside
    them stays as it is.

    Raises:
        FileFormatError: either is missing, repeated or out of order, or the page cannot be read.
    """
    begin, end = (f"<!-- table:{name}:{edge} -->" for edge in ("begin", "end"))
    text = read_page(page)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise FileFormatError(f"{page}: needs the line {begin} once and, below it, the line {end} once.")
    before, rest = text.split(begin)
    return text, f"{before}{begin}\n\n{block.strip()}\n\n{end}{rest.split(end)[1]}"


def read_page(path: Path) -> str:
    """The text of a file.

    Raises:
        FileFormatError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read as text ({error}).") from None
