"""`dfml verify`: recompute the digest of every file on the shelf and compare it with the receipts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from dfml.artefacts.receipt import Receipt
from dfml.cli.tools import Output, planned_outputs, require_repository
from dfml.config.command_line import check_words
from dfml.errors import DfmlError, FileFormatError, printable
from dfml.files.atomic import PARTIAL
from dfml.files.reading import sha256_file
from dfml.jobs.provenance import receipts_folder

# Below an experiment's folder, but no results; neither is what a killed writer left, `.{name}.….partial`.
ASIDE = ("receipts", "resume")
REMEDY = {
    "damaged": "delete the file and ask Snakemake for it by its path (plainly it makes only what something waits for)",
    "stale": "run the workflow again",
    "missing": "ask Snakemake for it by its path (plainly it makes only what something waits for)",
    "foreign": "no job of this configuration makes it: delete it if nothing else needs it",
    "unreadable": "delete the receipt and make what it told of again by its path, `snakemake --force -- PATH`",
    "unattested": "no receipt tells what it was, as of an earlier version: it cannot be checked",
}
WRONG = ("damaged", "stale", "missing", "unreadable")
"""Kinds of findings that mean the results are not what the configuration describes; others are remarks."""


@dataclass(frozen=True)
class Finding:
    """One file and what is to be said of it: a key of REMEDY, and the particulars."""

    kind: str
    path: str
    why: str = ""


def verify(configuration: Sequence[str]) -> list[Finding]:
    """Findings on the shelf of the configuration that the Snakemake options in ``configuration`` give."""
    outputs = planned_outputs(configuration)
    if not outputs:
        raise DfmlError("the configuration asks for nothing")
    shelf = Path(*Path(outputs[0].path).parts[:2])
    if not shelf.is_dir():
        raise DfmlError(f"there is no {shelf}: run the workflow with this configuration first, as ./run.sh does")
    return examine(outputs, shelf)


def examine(outputs: Sequence[Output], shelf: Path) -> list[Finding]:
    """Findings on the files below ``shelf``, given what the workflow would make there.

    A file is *missing* or *stale* by Snakemake's own judgement, stale also where it was made from another content of
    some file than the one that is there; *damaged* where it is not what its job left; *foreign* where no job makes it.
    A receipt that is *unreadable* leaves what its job made *unattested*.
    """
    known = {output.path for output in outputs}
    receipts, unreadable = _receipts(shelf)
    found: dict[str, Finding] = {}
    for finding in [*unreadable, *_by_receipts(receipts, known), *_by_plan(outputs)]:
        found.setdefault(finding.path, finding)
    attested = {path for receipt in receipts for path in receipt.outputs}
    for path in _files(shelf):
        if path not in known:
            found.setdefault(path, Finding("foreign", path))
        elif path not in attested:
            found.setdefault(path, Finding("unattested", path))
    order = list(REMEDY)
    return sorted(found.values(), key=lambda finding: (order.index(finding.kind), finding.path))


def _by_plan(outputs: Sequence[Output]) -> Iterator[Finding]:
    for output in outputs:
        if not Path(output.path).exists():
            yield Finding("missing", output.path)
        elif output.pending:
            yield Finding("stale", output.path, f"rule {output.rule} would run again")


def _by_receipts(receipts: Sequence[Receipt], known: set[str]) -> Iterator[Finding]:
    digest = cache(sha256_file)
    for receipt in receipts:
        made = {path: sha for path, sha in receipt.outputs.items() if path in known and Path(path).is_file()}
        for path, sha in made.items():
            if digest(path) != sha:
                yield Finding("damaged", path, "its content is not what its job left")
        for source, sha in receipt.inputs.items():
            # Not Path.is_file, which fails for a name that no file can have.
            if os.path.isfile(source) and digest(source) != sha:
                yield from (Finding("stale", path, f"made from another {source}") for path in made)


def _receipts(shelf: Path) -> tuple[list[Receipt], list[Finding]]:
    """The receipts that can be read, and findings on the others."""
    receipts, unreadable = [], []
    for path in sorted(receipts_folder(shelf.name).rglob("*.json")):
        try:
            receipts.append(Receipt.load(path))
        except FileFormatError as error:
            unreadable.append(Finding("unreadable", path.as_posix(), str(error)))
    return receipts, unreadable


def _files(shelf: Path) -> Iterator[str]:
    for path in sorted(shelf.rglob("*")):
        parts = path.relative_to(shelf).parts
        if path.is_file() and parts[0] not in ASIDE and not any(part.endswith(PARTIAL) for part in parts):
            yield path.as_posix()


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings by kind, each kind with what to do."""
    for kind, remedy in REMEDY.items():
        own = [finding for finding in findings if finding.kind == kind]
        if own:
            console.print(f"{len(own)} {kind}: {remedy}", style="bold red" if kind in WRONG else "bold")
        for finding in own:
            # Names of files may look like markup, or be commands to a terminal.
            text = f"  {finding.path}" + (f" ({finding.why})" if finding.why else "")
            console.print(printable(text), soft_wrap=True, markup=False)


def run(configuration: Sequence[str], console: Console) -> int:
    """The command; returns its exit code, 1 if a file is wrong or missing."""
    require_repository()
    check_words(configuration)
    findings = verify(configuration)
    show(findings, console)
    wrong = [finding for finding in findings if finding.kind in WRONG]
    if not wrong:
        console.print("Everything on the shelf is what its jobs left, and up to date.")
    return int(bool(wrong))
