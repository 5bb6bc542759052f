"""`dfml claims`: the verdicts on the declared claims, from the committed results to `docs/claims.md`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dfml.cli.tools import require_repository
from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write
from dfml.results.claims.page import PAGE, claims_page


def run(console: Console, *, check: bool) -> int:
    """The command: write the page, or with ``check`` only say whether it is up to date.

    Raises:
        DfmlError: with ``check``, the page is not what it would be now; or as :func:`claims_page`.
    """
    require_repository()
    text = claims_page(Path())
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else None
    if check and old != text:
        raise DfmlError(f"{PAGE} is not what docs/claims.yaml and docs/results give: run dfml claims")
    if old != text:
        atomic_write(PAGE, text.encode("utf-8"))
    console.print(f"{PAGE} is up to date.")
    return 0
