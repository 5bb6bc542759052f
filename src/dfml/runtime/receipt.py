"""Receipts: what each job was given and what it made, by content, beside the results.

An artefact cannot hold its own digest, and figures and images no provenance at all; the receipt of their job does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfml.errors import FileFormatError
from dfml.runtime.files import read_json, write_json
from dfml.runtime.provenance import digests

_FORMAT, _VERSION = "dfml.receipt", 1


def receipts_folder(experiment: str) -> Path:
    """Where the receipts of an experiment are."""
    return Path("results", experiment, "receipts")


def receipt_path(log: Path, experiment: str) -> Path:
    """Where the receipt of the job with this log belongs: of ``logs/demo/a.log`` it is ``…/receipts/a.json``."""
    return receipts_folder(experiment) / log.relative_to(Path("logs", experiment)).with_suffix(".json")


def write_receipt(path: Path, provenance: dict[str, Any], outputs: Sequence[str]) -> None:
    """Note the circumstances of a finished job and the SHA-256 of its outputs."""
    write_json(path, {"format": _FORMAT, "version": _VERSION, **provenance, "outputs": digests(outputs)})


def read_receipt(path: Path) -> dict[str, Any]:
    """Read a receipt; raises FileFormatError for a damaged or foreign one."""
    receipt = read_json(path, format=_FORMAT, version=_VERSION)
    for key in ("inputs", "outputs"):
        listed = receipt.get(key)
        if not isinstance(listed, dict) or not all(isinstance(digest, str) for digest in listed.values()):
            raise FileFormatError(f"{path}: {key} must give a digest for each file; run the job again that left it")
    return receipt
