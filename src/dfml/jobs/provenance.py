"""Where a result comes from: code, packages, machine, command, digests of files; and the receipt that a job leaves."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dfml.artefacts.provenance import Provenance
from dfml.artefacts.receipt import Receipt
from dfml.files.reading import sha256_file

COMMAND = "DFML_COMMAND"
"""Environment variable in which the workflow passes on what was typed."""

_PACKAGES = ("dfml", "torch", "numpy", "safetensors", "snakemake")


def circumstances() -> dict[str, Any]:
    """What was typed, the commit of the package, versions of packages, and the machine."""
    return {
        "command": os.environ.get(COMMAND),
        "git_commit": git_commit(Path(__file__).resolve().parents[1]),
        "versions": _versions(),
        "host": platform.node(),
    }


def digests(files: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of every file by its path; folders have none."""
    return {file: sha256_file(file) for file in files if not os.path.isdir(file)}


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The named parameters of a job as plain values."""
    return {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in params.items()
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # a package that is absent had no part in the result
    return versions


@cache
def git_commit(package: Path) -> str | None:
    """Return the commit a package's folder is at, `-dirty` added if its files differ from it.

    None where the folder is not tracked, which an installed copy inside a foreign repository is not.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "--verify", "HEAD")
        return f"{commit}-dirty" if git("status", "--porcelain", "--", ".") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def receipts_folder(experiment: str) -> Path:
    """Where the receipts of an experiment are."""
    return Path("results", experiment, "receipts")


def receipt_path(log: Path, experiment: str) -> Path:
    """Where the receipt of the job with this log belongs: of ``logs/demo/a.log`` it is ``…/receipts/a.json``."""
    return receipts_folder(experiment) / log.relative_to(Path("logs", experiment)).with_suffix(".json")


def write_receipt(path: Path, provenance: Provenance, outputs: Sequence[str]) -> None:
    """Note the circumstances of a finished job and the SHA-256 of its outputs."""
    Receipt(**provenance.fields_of(Provenance), outputs=digests(outputs)).save(path)
