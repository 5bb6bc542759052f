"""`dfml publish`: copies of tables, figures, metrics and records for git, and a short table in the README.

Git ignores `results/`, since a table that a clone brings along would look finished to the workflow. What is to be read
without a run is copied to `docs/results/`; the verdicts on the declared claims follow from there.
"""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

from rich.console import Console

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.record import Record
from dfml.cli import claims
from dfml.cli.pages import with_block
from dfml.cli.tools import require_repository
from dfml.errors import DfmlError, FileFormatError
from dfml.files.atomic import as_json, atomic_write

SHOWN_IN_README = "demo"
RECORDS = "records.zip"


def published(shelf: Path) -> dict[str, Path]:
    """What is copied of an experiment's folder, by its new name: tables as Markdown, figures as PNG, all numbers.

    Seconds of inversion are in no other file, so their table comes as CSV, too.
    """
    files = [*sorted(shelf.glob("tables/*.md")), *sorted(shelf.glob("figures/*.png"))]
    files += shelf.glob("tables/speed.csv")
    return {path.name: path for path in [*files, shelf / "results.csv", shelf / "metrics.json"]}


def packed_records(shelf: Path) -> bytes:
    """The records of ``results.csv`` with their accuracies per episode, as a zip by their places in ``shelf``.

    Others may be there, of cells that were asked for once. Equal files give equal bytes.

    What was typed and the machine's name, which are nobody else's business, are left out of the records.

    Raises:
        FileFormatError: the table names no records, or one is missing or damaged, or its accuracies are.
    """
    with (shelf / "results.csv").open(encoding="utf-8", newline="") as table:
        rows = csv.DictReader(table)
        if "record" not in (rows.fieldnames or ()):
            raise FileFormatError(f"{table.name} has no column `record`: run the workflow again")
        listed = sorted({row["record"] for row in rows})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (shelf / place for place in listed):
            record = Record.load(path)
            EpisodeAccuracies.of_record(path, record)
            public = record.provenance.model_copy(update={"command": None, "host": ""})
            contents = {
                path.with_name(ACCURACIES): path.with_name(ACCURACIES).read_bytes(),
                path: as_json(record.model_copy(update={"provenance": public}).content()),
            }
            for place, content in contents.items():
                # A ZipInfo of its own has no time, no user and no mode of this machine.
                entry = zipfile.ZipInfo(place.relative_to(shelf).as_posix())
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def publish(shelf: Path, folder: Path) -> None:
    """Copy the published files of ``shelf`` into ``folder``; what the shelf no longer has is removed there.

    Raises:
        DfmlError: the experiment is not finished, or a record is damaged or without its accuracies.
    """
    files = published(shelf)
    for name in ("main.md", "results.csv", "metrics.json"):
        if name not in files or not files[name].is_file():
            raise DfmlError(f"{shelf} has no {name}: run the workflow to its end first")
    records = packed_records(shelf)  # before anything is copied: one may be damaged
    for name, path in files.items():
        atomic_write(folder / name, path.read_bytes())
    atomic_write(folder / RECORDS, records)
    for path in folder.iterdir():
        if path.name not in files and path.name not in (RECORDS, "README.md"):
            path.unlink()


def run(experiment: str, console: Console) -> int:
    """The command; the default experiment's short table also goes into README.md, and verdicts into docs/claims.md."""
    from dfml.results.claims.page import DECLARED
    from dfml.results.readme_table import readme_table

    require_repository()
    shelf, folder = Path("results", experiment), Path("docs/results", experiment)
    publish(shelf, folder)
    if experiment == SHOWN_IN_README:
        readme = Path("README.md")
        old, new = with_block(readme, readme_table(shelf / "results.csv"), name="short")
        if old != new:
            atomic_write(readme, new.encode("utf-8"))
    console.print(f"Copied tables, figures, metrics and records of {shelf} to {folder}.")
    if DECLARED.is_file():
        claims.run(console, check=False)
    return 0
