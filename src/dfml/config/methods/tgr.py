"""Configuration of TGR."""

from typing import Literal

from pydantic import Field

from dfml.config.base import Section


class TgrSettings(Section):
    """TGR: models are grouped by dissimilarity, and their disagreement is regularised."""

    iterations: int = Field(100, ge=1, description="Iterations of regularised distillation and replay.")
    start: Literal["random", "zero_head", "best_model"] = Field(
        "random", description="The meta-learner at first, as `free.start`."
    )
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
