"""Differences to the pool's best model, episode by episode: the same pool, seed and tasks. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dfml.artefacts.accuracies import EpisodeAccuracies, Key
from dfml.artefacts.record import Record
from dfml.errors import DfmlError
from dfml.evaluation.intervals import interval95

REFERENCES = ("best", "zoo_features")
"""The pool's best model as a learner: its weights, where most methods start; its frozen features, which models that
were trained elsewhere have, too. A pool's first that was run is what the others are compared with."""


def reference_of(methods: Iterable[str]) -> str | None:
    """What the methods that were run on a pool are compared with; None where that was not run."""
    return next((name for name in REFERENCES if name in set(methods)), None)


class Difference(NamedTuple):
    """Accuracy of a cell minus that of the best model on the same episodes, in points; columns of ``results.csv``.

    ``over_best_ci95`` is the half-width of the 95 % interval over the episodes. Both are None where that was
    not measured.
    """

    over_best: float | None = None
    over_best_ci95: float | None = None


def differences(records: Sequence[tuple[Path, Record]]) -> list[dict[Key, Difference]]:
    """The difference to the reference of every result of every record (:func:`dfml.results.collect.read_records`).

    Reads the accuracies beside each record, also where there is nothing to compare: so it is seen of all of them that
    their numbers are those of their episodes.

    Raises:
        FileFormatError: accuracies are missing, damaged, or not those of their record.
        DfmlError: a cell has not as many episodes as the reference.
    """
    kept = [EpisodeAccuracies.of_record(path, record) for path, record in records]
    ran: dict[str, set[str]] = {}
    for _, record in records:
        ran.setdefault(record.pool, set()).add(record.method)
    chosen = {pool: reference_of(methods) for pool, methods in ran.items()}
    references = {
        _place(record): own
        for (_, record), own in zip(records, kept, strict=True)
        if record.method == chosen[record.pool]
    }
    found = []
    for (path, record), own in zip(records, kept, strict=True):
        reference = references.get(_place(record))
        found.append({key: _difference(path, own, reference, key) for key in own.right})
    return found


def _place(record: Record) -> tuple[str, str, int, int, int]:
    """What two cells must have in common to be compared."""
    return record.experiment, record.pool, record.ways, record.shots, record.seed


def _difference(path: Path, own: EpisodeAccuracies, reference: EpisodeAccuracies | None, key: Key) -> Difference:
    if reference is None or key not in reference.right:
        return Difference()
    if len(own.right[key]) != len(reference.right[key]):
        raise DfmlError(f"{path} has other episodes than the best model's record. Evaluate both with one setting.")
    gains = own.percent(key) - reference.percent(key)
    return Difference(float(gains.mean()), interval95(gains))
