"""Folders with one sub-folder of photos per class: a support set, or classes to draw episodes from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dfml.artefacts.accuracies import percent
from dfml.data.copies import warn_of_same_pixels
from dfml.data.images import ClassImages
from dfml.data.prepare import FOLDER_LICENCE
from dfml.data.sources.folder import EXTENSIONS, Folder
from dfml.data.sources.layouts import find_classes
from dfml.errors import DataError
from dfml.evaluation.episodes import EpisodeSet, right_answers
from dfml.evaluation.intervals import interval95
from dfml.evaluation.settings import EvaluationSettings
from dfml.jobs.progress import ProgressTask
from dfml.use.learner import FewShotLearner
from dfml.use.pictures import read_files


@dataclass(frozen=True)
class Measured:
    """Accuracy under one rule and batch-norm mode: mean over episodes and half-width of its 95 % interval, percent."""

    rule: str
    batch_norm: str
    accuracy: float
    ci95: float


def photos_of_classes(folder: Path) -> dict[str, list[Path]]:
    """The photos of every class of a folder, without opening them.

    Raises:
        DataError: there is no such folder, it has fewer than two sub-folders, or one of them has no photo.
    """
    return _in_parts(folder)[0]


def _in_parts(folder: Path) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """The photos of every class, and the parts that they are in."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder} is not a directory; give one with a sub-folder of photos for each class")
    layout = find_classes(Folder(folder))
    layout.warn()
    classes = {name: [folder / photo for photo in photos] for name, photos in layout.classes.items()}
    if empty := [name for name, photos in classes.items() if not photos]:
        raise DataError(
            f"{folder}: there is no photo in {', '.join(empty)}; put some in ({', '.join(sorted(EXTENSIONS))}), or "
            "remove the sub-folder"
        )
    if len(classes) < 2:
        found = f"one sub-folder, {next(iter(classes))}" if classes else "photos and no sub-folder of them"
        raise DataError(f"{folder} has {found}; a classifier needs at least two classes")
    return classes, layout.read


def support_set(folder: Path) -> tuple[list[Path], list[str]]:
    """Photos and labels, by which :meth:`FewShotLearner.adapt` learns the classes of a folder.

    Raises:
        DataError: as :func:`photos_of_classes`, or there are several parts, such as ``train`` and ``test``.
    """
    classes, parts = _in_parts(folder)
    if len(parts) > 1:
        raise DataError(
            f"{folder} holds several parts ({', '.join(parts)}); give a folder with one of them, as photos to test "
            "answers on must not be learned"
        )
    return (
        [photo for photos in classes.values() for photo in photos],
        [name for name, photos in classes.items() for _ in photos],
    )


def _check_enough(folder: Path, classes: Mapping[str, Sequence[Path]], ways: int, shots: int, queries: int) -> None:
    if ways < 2:
        raise DataError("an episode has at least two classes; ask for more ways")
    if len(classes) < ways:
        raise DataError(f"{folder} has {len(classes)} classes, too few for episodes of {ways}; ask for fewer ways")
    if short := [f"{name} ({len(photos)})" for name, photos in classes.items() if len(photos) < shots + queries]:
        raise DataError(
            f"{folder}: an episode takes {shots} support and {queries} query photos of a class, but fewer are in "
            f"{', '.join(short)}; ask for fewer shots or queries, or add photos"
        )


def evaluate_folder(
    learner: FewShotLearner,
    folder: Path,
    *,
    ways: int,
    shots: int,
    settings: EvaluationSettings,
    progress: ProgressTask | None = None,
) -> list[Measured]:
    """Accuracies on episodes drawn from the classes of a folder, by every rule and batch-norm mode.

    Args:
        learner: what is measured.
        folder: one sub-folder of photos per class.
        ways, shots: of an episode.
        settings: how many episodes and queries, and the seed of the draw.
        progress: told of every batch that is done.

    Raises:
        DataError: the classes are too few or too small for the episodes, or photos cannot be read; those are named.
    """
    classes = photos_of_classes(folder)
    _check_enough(folder, classes, ways, shots, settings.queries)
    paths = [photo for photos in classes.values() for photo in photos]
    images = read_files(paths, learner.side)
    warn_of_same_pixels(images.numpy(), [str(path) for path in paths])
    drawn = ClassImages(
        folder.absolute().name,
        settings.split,
        tuple(classes),
        list(images.split([len(photos) for photos in classes.values()])),
        FOLDER_LICENCE,
    )
    own = learner.learner.for_ways(ways)
    tasks = EpisodeSet.draw(
        drawn, ways=ways, shots=shots, settings=settings, count=settings.episodes, device=own.mean.device
    )
    with torch.no_grad():
        found = right_answers(own, tasks, progress)
    measured = []
    for (rule, batch_norm), right in found.items():
        values = percent(right, tasks.answers)
        measured.append(Measured(rule, batch_norm, float(values.mean()), interval95(values)))
    return measured
