"""``inversion.json`` and ``speed.json``: what recovered images cost and how good they are. Torch-free."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Closed, Count, Name, NonNegative, Percent, Positive, Text
from dfml.artefacts.provenance import Provenance

RECORD = "inversion.json"
BANK = "bank.npz"


class InversionRecord(Artefact):
    """Cost and quality of the images recovered from one pool by one inverter."""

    FORMAT: ClassVar = "dfml.inversion"
    VERSION: ClassVar = 1
    MAKER: ClassVar = "the rule invert"

    pool: Name
    inverter: Name
    seed: Count
    seconds: NonNegative
    generator_passes: Count
    teacher_passes: Count
    inversions: Count
    images: Count
    iterations: Count
    history: list[float] = Field(description="cross-entropy of the teacher at each iteration")
    ce_curve: dict[Name, list[float]] = Field(
        description="cross-entropy of the teacher before and after each inner step, by stage of training"
    )
    teacher_ce: NonNegative
    teacher_accuracy: Percent
    cross_model_accuracy: Percent | None = None
    independent_accuracy: Percent | None = None
    independent_reason: Text | None = None
    diversity: float | None = None
    peak_memory_mb: NonNegative | None
    provenance: Provenance
    # The first files have it beside `seconds`; it is read and never written.
    seconds_in_all: NonNegative | None = Field(None, exclude=True)


class SpeedArm(Closed):
    """One contestant of the speed comparison; the lists are parallel, one entry per recovered task."""

    name: Name
    steps: Positive
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


class SpeedRecord(Artefact):
    """Seconds per recovered task of every arm, measured in one run on one device."""

    FORMAT: ClassVar = "dfml.speed"
    VERSION: ClassVar = 1
    MAKER: ClassVar = "the rule time_inversion"

    pool: Name
    seed: Count
    device: Text
    images_per_task: Positive
    arms: Annotated[list[SpeedArm], Field(min_length=1)]
    provenance: Provenance
