"""What the report shows first: the main figure, the short table, and recovered images."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from dfml.files.atomic import atomic_write
from dfml.results.tables.page import grids
from dfml.results.tables.table import Table


def write_first_page(short: Table, figures: Path, output: Path) -> None:
    """Write the part of a page that shows the figures `main` and `recovered` of a folder with the short table between.

    It is one piece of HTML that opens offline.
    """
    parts = [
        _picture(figures / "main.svg", "Accuracy of every method"),
        f"<h2>{short.caption}</h2>",
        grids(short),
        "<h2>Images recovered from the classifiers, by class</h2>",
        _picture(figures / "recovered.svg", "Recovered images under the names of their classes"),
    ]
    atomic_write(output, "\n".join(parts).encode("utf-8"))


def _picture(path: Path, words: str) -> str:
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{b64encode(path.read_bytes()).decode()}">'
