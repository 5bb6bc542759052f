"""What the tables and figures need of ``zoo.json``, ``inversion.json`` and ``speed.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Count, Name, NonNegative, Percent, Text, read_artefact
from dfml.errors import DfmlError


class ZooModel(Artefact):
    """One model of a zoo; ``accuracy_stored`` is the own-validation accuracy of the stored weights."""

    accuracy_stored: Percent


class ZooNetwork(Artefact):
    """Family and width of a zoo's network."""

    family: Name
    width: Annotated[int, Field(ge=1)]


class ZooSummary(Artefact):
    """The manifest of one zoo: (data set, architecture, seed)."""

    dataset: Name
    architecture: Name
    network: ZooNetwork
    seed: Count
    models: Annotated[list[ZooModel], Field(min_length=1)]
    seconds: NonNegative | None = None


class InversionSummary(Artefact):
    """Cost and quality of the images recovered from one pool by one inverter."""

    pool: Name
    inverter: Name
    seed: Count
    seconds: NonNegative
    generator_passes: Count
    teacher_passes: Count
    images: Count
    iterations: Count | None = None
    ce_curve: dict[Name, list[float]] = Field(
        description="cross-entropy of the teacher before and after each inner step, by stage of training"
    )
    teacher_ce: NonNegative
    teacher_accuracy: Percent
    cross_model_accuracy: Percent | None = None
    independent_accuracy: Percent | None = None
    independent_reason: Text | None = None
    diversity: float | None = None


class SpeedArm(Artefact):
    """One contestant of the speed comparison; the lists are parallel, one entry per recovered task."""

    name: Name
    steps: Annotated[int, Field(ge=1)]
    seconds_per_task: Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1)]
    teacher_ce: list[NonNegative]
    teacher_accuracy: list[Percent]

    @model_validator(mode="after")
    def _lists_are_parallel(self) -> SpeedArm:
        """Every task has its seconds, its cross-entropy and its accuracy."""
        lengths = {len(self.seconds_per_task), len(self.teacher_ce), len(self.teacher_accuracy)}
        if len(lengths) > 1:
            raise ValueError("seconds_per_task, teacher_ce and teacher_accuracy differ in length")
        return self


class SpeedSummary(Artefact):
    """Seconds per recovered task of every arm, measured in one run on one device."""

    pool: Text = ""
    device: Text
    arms: Annotated[list[SpeedArm], Field(min_length=1)]


def read_zoos(paths: Sequence[Path]) -> list[ZooSummary]:
    """The zoo manifests, sorted by (data set, architecture, seed); one zoo given twice is refused."""
    zoos = [read_artefact(path, ZooSummary, format="dfml.zoo", version=1, rule="train_zoo") for path in paths]
    keys = [(zoo.dataset, zoo.architecture, zoo.seed) for zoo in zoos]
    _refuse_repeats("zoo", keys, paths)
    return [zoo for _, zoo in sorted(zip(keys, zoos, strict=True), key=lambda pair: pair[0])]


def read_inversions(paths: Sequence[Path]) -> list[InversionSummary]:
    """The inversion summaries, sorted by (pool, inverter, seed); one inversion given twice is refused."""
    inversions = [
        read_artefact(path, InversionSummary, format="dfml.inversion", version=1, rule="invert") for path in paths
    ]
    keys = [(item.pool, item.inverter, item.seed) for item in inversions]
    _refuse_repeats("inversion", keys, paths)
    return [item for _, item in sorted(zip(keys, inversions, strict=True), key=lambda pair: pair[0])]


def read_speeds(paths: Sequence[Path]) -> list[SpeedSummary]:
    """The speed comparisons, sorted by pool.

    A file that does not name its pool belongs to the one whose folder it lies in
    (``inversion/{pool}/speed.json``).
    """
    speeds = []
    for path in paths:
        speed = read_artefact(path, SpeedSummary, format="dfml.speed", version=1, rule="time_inversion")
        speeds.append(speed.model_copy(update={"pool": speed.pool or Path(path).parent.name}))
    keys = [(speed.pool,) for speed in speeds]
    _refuse_repeats("speed comparison", keys, paths)
    return sorted(speeds, key=lambda speed: speed.pool)


def _refuse_repeats(what: str, keys: Sequence[tuple], paths: Sequence[Path]) -> None:
    """DfmlError naming both files when two of them describe the same thing."""
    seen: dict[tuple, Path] = {}
    for key, path in zip(keys, paths, strict=True):
        if key in seen:
            name = " / ".join(str(part) for part in key)
            raise DfmlError(f"the {what} {name} is given twice: {seen[key]} and {path}. Keep one of them.")
        seen[key] = path
