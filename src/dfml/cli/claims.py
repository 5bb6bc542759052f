"""`dfml claims`: what is declared in YAML, and the committed results say about it, written into pages of `docs/`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dfml.cli.pages import with_block
from dfml.cli.tools import require_repository
from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write


def run(console: Console, *, check: bool) -> int:
    """The command: write the verdicts and the list of published numbers, or with ``check`` only say if they are so.

    Raises:
        DfmlError: with ``check``, a page is not what it would be now; or as :func:`claims_page`.
    """
    from dfml.results import published  # pandas and scipy take a second, which no other command should wait
    from dfml.results.claims.page import PAGE, claims_page

    require_repository()
    verdicts = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else None
    numbers = published.published_lists(published.load_published(published.DECLARED))
    pages = {
        PAGE: (verdicts, claims_page(Path())),
        published.PAGE: with_block(published.PAGE, numbers, name="published"),
    }
    for page, (old, new) in pages.items():
        if check and old != new:
            raise DfmlError(f"{page} is not what its YAML file and the committed results give: run dfml claims")
        if old != new:
            atomic_write(page, new.encode("utf-8"))
        console.print(f"{page} is up to date.")
    return 0
