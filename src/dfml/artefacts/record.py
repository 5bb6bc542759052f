"""``record.json``: the outcome of one cell (pool, method, shots, seed)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from dfml.artefacts.base import (
    RECORD_FORMAT,
    RECORD_VERSION,
    Artefact,
    Count,
    Name,
    NonNegative,
    Percent,
    Text,
    read_artefact,
)

Positive = Annotated[int, Field(ge=1)]


class Result(Artefact):
    """Accuracy of the cell on one meta-test data set under one adaptation rule and batch-norm mode."""

    dataset: Name
    rule: Name
    batch_norm: Name
    accuracy: Percent = Field(description="mean over the episodes, percent")
    ci95: NonNegative = Field(description="half-width of its 95 % interval over the episodes, points")
    episodes: Positive
    accuracies_digest: Name = Field(description="digest of the per-episode accuracies")


class CurvePoint(Artefact):
    """Meta-validation accuracy of one snapshot taken while the method was learning."""

    iteration: Count
    seconds: NonNegative = Field(description="seconds of learning when the snapshot was taken")
    accuracy: Percent
    ci95: NonNegative
    rule: Name
    batch_norm: Name


class Record(Artefact):
    """Everything that an evaluation says about one cell."""

    experiment: Name
    pool: Name
    method: Name
    ways: Annotated[int, Field(ge=2)]
    shots: Positive
    seed: Count
    results: Annotated[list[Result], Field(min_length=1)]
    selection: Name = Field(description="how the evaluated iterate was chosen")
    iterate: int | Text | None = None
    episode_digest: Name = Field(description="digest of the fixed episode list")
    train_seconds: NonNegative
    teacher_passes: Count
    bank_seconds: NonNegative = Field(description="seconds of the inversion whose images it started from")
    bank_passes: Count = Field(description="teacher passes of that inversion")
    inference_macs: Count | None = Field(description="multiply-adds per query image")
    peak_memory_mb: NonNegative | None
    stages: dict[Name, float] = Field(description="seconds by stage")
    curve: list[CurvePoint]
    device: Name
    git_commit: Text | None
    config_digest: Name
    options: dict[str, object] = Field(description="resolved settings of the method")
    provenance: dict[str, object] = Field(description="command, code, packages, machine, settings, digests of inputs")

    @model_validator(mode="after")
    def _no_number_twice(self) -> Record:
        """One result per (data set, rule, batch-norm mode), one curve point per (iteration, rule, mode)."""
        _refuse_repeats("results", [(r.dataset, r.rule, r.batch_norm) for r in self.results])
        _refuse_repeats("curve", [(str(p.iteration), p.rule, p.batch_norm) for p in self.curve])
        return self


def _refuse_repeats(where: str, keys: list[tuple[str, str, str]]) -> None:
    """ValueError, which pydantic turns into a problem of the record, when a key occurs twice."""
    repeated = [" / ".join(key) for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise ValueError(f"{where} hold {', '.join(repeated)} more than once")


def read_record(path: Path) -> Record:
    """Read and check one ``record.json``; FileFormatError names the file and what is wrong with it."""
    return read_artefact(path, Record, format=RECORD_FORMAT, version=RECORD_VERSION, rule="evaluate")
