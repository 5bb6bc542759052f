"""Configuration of PURER."""

from typing import Literal

from pydantic import Field

from dfml.config.base import Section


class PurerSettings(Section):
    """PURER: a set of synthetic images is itself what is trained, together with the learner."""

    iterations: int = Field(4000, ge=1, description="Meta-iterations: a step on the images, then one on the learner.")
    start: Literal["average", "random", "zero_head", "best_model"] = Field(
        "average", description="The meta-learner at first: the average of the pool as published, or as `free.start`."
    )
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
