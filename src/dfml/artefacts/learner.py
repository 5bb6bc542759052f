"""``learner.json``: all that is known of a learner beside its weights. Torch-free."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dfml.artefacts.base import Name
from dfml.artefacts.zoo import NetworkSpec

FORMAT, VERSION = "dfml.learner", 2
WEIGHTS, MANIFEST, HISTORY = "learner.safetensors", "learner.json", "history.csv"

# Far more than any method keeps: every network costs memory, however small its weights.
MOST_NETWORKS = 10_000


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SnapshotEntry(_Closed):
    """One kept iterate: after how many iterations and seconds of training."""

    iteration: int = Field(ge=0)
    seconds: float = Field(ge=0)


class Normalisation(_Closed):
    """Mean and standard deviation per channel."""

    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[float] = Field(min_length=3, max_length=3)


class LearnerManifest(_Closed):
    """All that is known of a learner beside its weights."""

    format: Literal["dfml.learner"] = FORMAT
    version: Literal[2] = VERSION
    pool: Name
    method: Name
    ways: int = Field(ge=2)
    shots: int = Field(ge=1)
    seed: int = Field(ge=0)
    encoders: list[NetworkSpec] = Field(min_length=1)
    snapshots: list[SnapshotEntry] = Field(min_length=1)
    finetune: bool
    head_only: bool = False
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[float] = Field(min_length=3, max_length=3)
    domains: dict[Name, Normalisation] = Field(default_factory=dict)
    train_seconds: float = Field(ge=0)
    teacher_passes: int = Field(ge=0)
    bank_seconds: float = Field(ge=0)
    bank_passes: int = Field(ge=0)
    stages: dict[str, float]
    peak_memory_mb: float | None
    options: dict[str, Any]
    weights_sha256: str
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _networks_are_few(self) -> "LearnerManifest":
        if len(self.encoders) * len(self.snapshots) > MOST_NETWORKS:
            raise ValueError(f"its snapshots have more than {MOST_NETWORKS} networks")
        return self
