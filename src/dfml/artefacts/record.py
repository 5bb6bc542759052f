"""``record.json``: the outcome of one cell (pool, method, shots, seed). Torch-free."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Closed, Count, Name, NonNegative, Percent, Positive, Text
from dfml.artefacts.cell import CellFacts, Learning
from dfml.artefacts.provenance import Provenance


class Result(Closed):
    """Accuracy of the cell on one data set under one adaptation rule and batch-norm mode."""

    dataset: Name
    rule: Name
    batch_norm: Name
    accuracy: Percent = Field(description="mean over the episodes, percent")
    ci95: NonNegative = Field(description="half-width of its 95 % interval over the episodes, points")
    episodes: Positive
    accuracies_digest: Name = Field(description="digest of the per-episode accuracies")


class CurvePoint(Closed):
    """Meta-validation accuracy of one snapshot taken while the method was learning."""

    iteration: Count
    seconds: NonNegative = Field(description="seconds of learning when the snapshot was taken")
    accuracy: Percent
    ci95: NonNegative
    rule: Name
    batch_norm: Name


class Circumstances(Closed):
    """With what the numbers were measured, as every row of ``results.csv`` says it."""

    split: Literal["meta_test", "meta_val"] = Field(description="whose classes the episodes are of")
    device: Name
    config_digest: Name
    git_commit: Text | None
    episode_digest: Name = Field(description="digest of the fixed episode list")


class Record(Artefact, Circumstances, Learning, CellFacts):
    """Everything that an evaluation says about one cell."""

    FORMAT: ClassVar = "dfml.record"
    VERSION: ClassVar = 4
    MAKER: ClassVar = "the rule evaluate"

    experiment: Name
    results: Annotated[list[Result], Field(min_length=1)]
    selection: Name = Field(description="how the evaluated iterate was chosen")
    iterate: int | Text | None = None
    inference_macs: Count | None = Field(description="multiply-adds per query image")
    curve: list[CurvePoint]
    provenance: Provenance

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
