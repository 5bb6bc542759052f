"""The files on the shelf that tables and figures are made of, in order and none of them twice. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dfml.artefacts.base import Artefact
from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.artefacts.inversion import InversionRecord, SpeedRecord
from dfml.artefacts.zoo import ZooManifest
from dfml.errors import DfmlError

Kind = TypeVar("Kind", bound=Artefact)


def read_zoos(paths: Sequence[Path]) -> list[ZooManifest]:
    """The zoo manifests, sorted by (data set, architecture, seed); one zoo given twice is refused."""
    zoos = [ZooManifest.load(path) for path in paths]
    return _in_order("zoo", zoos, paths, lambda zoo: (zoo.dataset, zoo.architecture, zoo.seed))


def read_imported_zoos(paths: Sequence[Path]) -> list[ImportedZooManifest]:
    """The manifests of zoos from elsewhere, sorted by name; one given twice is refused."""
    zoos = [ImportedZooManifest.load(path) for path in paths]
    return _in_order("imported zoo", zoos, paths, lambda zoo: (zoo.name,))


def read_inversions(paths: Sequence[Path]) -> list[InversionRecord]:
    """The inversion records, sorted by (pool, inverter, seed); one inversion given twice is refused."""
    inversions = [InversionRecord.load(path) for path in paths]
    return _in_order("inversion", inversions, paths, lambda item: (item.pool, item.inverter, item.seed))


def read_speeds(paths: Sequence[Path]) -> list[SpeedRecord]:
    """The speed comparisons, sorted by pool; two of one pool are refused."""
    speeds = [SpeedRecord.load(path) for path in paths]
    return _in_order("speed comparison", speeds, paths, lambda speed: (speed.pool,))


def _in_order(
    what: str, items: Sequence[Kind], paths: Sequence[Path], key: Callable[[Kind], tuple[str | int, ...]]
) -> list[Kind]:
    """The items sorted by key; DfmlError naming both files when two of them describe the same thing."""
    seen: dict[tuple[str | int, ...], Path] = {}
    for item, path in zip(items, paths, strict=True):
        own = key(item)
        if own in seen:
            name = " / ".join(map(str, own))
            raise DfmlError(f"the {what} {name} is given twice: {seen[own]} and {path}. Keep one of them.")
        seen[own] = path
    return sorted(items, key=key)
