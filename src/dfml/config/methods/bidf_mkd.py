"""Configuration of BiDf-MKD."""

from typing import Literal

from pydantic import Field

from dfml.config.base import Section


class BidfMkdSettings(Section):
    """BiDf-MKD: bi-level distillation from recovered support and query sets, with replay between them."""

    iterations: int = Field(1000, ge=1, description="Outer steps.")
    start: Literal["random", "zero_head", "best_model"] = Field(
        "random", description="The meta-learner at first, as `free.start`."
    )
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")


class BidfMkdBlackBoxSettings(BidfMkdSettings):
    """BiDf-MKD that sees the models' answers only: gradients with respect to images are estimated."""

    directions: int = Field(100, ge=1, description="Random directions per image and step, q.")
    radius: float = Field(0.005, gt=0, description="Length of a step along a direction, μ.")
