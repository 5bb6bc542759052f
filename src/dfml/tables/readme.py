"""The README's results block, rendered from the table itself so that it cannot drift."""

from __future__ import annotations

from pathlib import Path

from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write


def update_readme(readme: Path, table: Path, *, name: str = "main") -> bool:
    """Put the Markdown of ``table`` between the markers of ``readme``; True when that changed the file.

    The markers are the comments ``<!-- table:{name}:begin -->`` and ``<!-- table:{name}:end -->``; everything
    outside them stays as it is. Raises FileFormatError when either is missing, repeated or out of order, or a
    file cannot be read.
    """
    readme, table = Path(readme), Path(table)
    begin, end = f"<!-- table:{name}:begin -->", f"<!-- table:{name}:end -->"
    text, block = _read(readme), _read(table).strip()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise FileFormatError(f"{readme}: needs the line {begin} once and, below it, the line {end} once.")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    updated = f"{before}{begin}\n\n{block}\n\n{end}{after}"
    if updated == text:
        return False
    atomic_write(readme, updated.encode("utf-8"))
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read as text ({error}).") from None
