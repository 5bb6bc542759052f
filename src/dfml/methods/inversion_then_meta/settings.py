"""Settings of the methods that recover a bank of images once and then meta-learn from it alone."""

from typing import Literal

from pydantic import Field

from dfml.metalearning.settings import ReplaySettings, Start
from dfml.methods.settings import MethodSettings


class InversionThenMetaSettings(MethodSettings):
    """A static bank of recovered images, then MAML, ANIL or ProtoNet on episodes of it."""

    learner: Literal["maml", "anil", "protonet"] = Field("maml", description="How the learner adapts.")
    start: Start = Field("random", description="The meta-learner at first, as `free.start`.")
    iterations: int = Field(100, ge=1, description="Replay phases; the settings of one are those of `replay`.")
    replay: ReplaySettings = Field(ReplaySettings(), description="Episodes, inner steps and outer steps of a phase.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
