"""Settings of the references that learn from real images."""

from typing import Literal

from pydantic import Field

from dfml.metalearning.settings import OuterAdamSettings, OuterStepSettings
from dfml.methods.settings import MethodSettings


class SupervisedProtonetSettings(OuterAdamSettings, MethodSettings):
    """Supervised ProtoNet on the real meta-train images."""

    iterations: int = Field(300, ge=1, description="Outer steps.")
    start: Literal["random", "zero_head"] = Field("random", description="Initial weights; the head is not used.")
    episodes: int = Field(4, ge=1, description="Episodes per outer step.")
    queries: int = Field(15, ge=1, description="Query images per class.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")


class SupervisedSettings(OuterStepSettings, MethodSettings):
    """Supervised MAML or ANIL on the real meta-train images."""

    iterations: int = Field(300, ge=1, description="Outer steps.")
    start: Literal["random", "zero_head"] = Field(
        "zero_head",
        description="Random weights, all of them or with a head of zeros: labels being drawn anew in every episode, a "
        "random head only delays learning.",
    )
    episodes: int = Field(4, ge=1, description="Episodes per outer step.")
    queries: int = Field(15, ge=1, description="Query images per class.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
