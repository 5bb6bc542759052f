"""What ``learner.json`` and ``record.json`` both say of a cell. Torch-free."""

from typing import Annotated, Any

from pydantic import Field

from dfml.artefacts.base import Closed, Count, Name, NonNegative, Positive


class CellFacts(Closed):
    """Which cell it is: the fields of :class:`dfml.artefacts.base.Cell` and the classes of a task."""

    pool: Name
    method: Name
    ways: Annotated[int, Field(ge=2)]
    shots: Positive
    seed: Count


class Effort(Closed):
    """Seconds, passes and episodes that the learner took."""

    train_seconds: NonNegative
    teacher_passes: Count
    train_episodes: Count | None = Field(None, description="episodes it was trained on; None where there are none")
    bank_seconds: NonNegative = Field(description="seconds of the inversion whose images it started from")
    bank_passes: Count = Field(description="teacher passes of that inversion")


class Learning(Effort):
    """All that is known of how the learner came about."""

    peak_memory_mb: NonNegative | None
    stages: dict[Name, float] = Field(description="seconds by stage")
    options: dict[str, Any] = Field(description="resolved settings of the method")
