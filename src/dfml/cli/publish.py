"""`dfml publish`: copies of tables, figures and metrics for git, and the main table in the README.

Git ignores `results/`, since a table that a clone brings along would look finished to the workflow. What is to be read
without a run is copied to `docs/results/`; the verdicts on the declared claims follow from there.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dfml.cli import claims
from dfml.cli.tools import require_repository
from dfml.errors import DfmlError, FileFormatError
from dfml.files.atomic import atomic_write
from dfml.results.claims.page import DECLARED


def update_readme(readme: Path, table: Path) -> bool:
    """Put the Markdown of ``table`` between the markers of ``readme``; True when that changed the file.

    The markers are the comments ``<!-- table:main:begin -->`` and ``<!-- table:main:end -->``; everything
    outside them stays as it is. Raises FileFormatError when either is missing, repeated or out of order, or a
    file cannot be read.
    """
    readme, table = Path(readme), Path(table)
    begin, end = "<!-- table:main:begin -->", "<!-- table:main:end -->"
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


SHOWN_IN_README = "demo"


def published(shelf: Path) -> dict[str, Path]:
    """What is copied of an experiment's folder, by its new name: tables as Markdown, figures as PNG, all numbers.

    Seconds of inversion are in no other file, so their table comes as CSV, too. Of the pictures of recovered images it
    is the first.
    """
    files = [*sorted(shelf.glob("tables/*.md")), *sorted(shelf.glob("figures/*.png"))]
    files += shelf.glob("tables/speed.csv")
    named = {path.name: path for path in [*files, shelf / "results.csv", shelf / "metrics.json"]}
    if pictures := sorted(shelf.glob("inversion/*/*/seed*/grid.png")):
        named["recovered.png"] = pictures[0]
    return named


def publish(shelf: Path, folder: Path) -> None:
    """Copy the published files of ``shelf`` into ``folder``; what the shelf no longer has is removed there.

    Raises:
        DfmlError: the experiment is not finished.
    """
    files = published(shelf)
    for name in ("main.md", "results.csv", "metrics.json"):
        if name not in files or not files[name].is_file():
            raise DfmlError(f"{shelf} has no {name}: run the workflow to its end first")
    for name, path in files.items():
        atomic_write(folder / name, path.read_bytes())
    for path in folder.iterdir():
        if path.name not in files and path.name != "README.md":
            path.unlink()


def run(experiment: str, console: Console) -> int:
    """The command; the default experiment's main table also goes into README.md, and verdicts into docs/claims.md."""
    require_repository()
    shelf, folder = Path("results", experiment), Path("docs/results", experiment)
    publish(shelf, folder)
    if experiment == SHOWN_IN_README:
        update_readme(Path("README.md"), shelf / "tables" / "main.md")
    console.print(f"Copied tables, figures and metrics of {shelf} to {folder}.")
    if DECLARED.is_file():
        claims.run(console, check=False)
    return 0
