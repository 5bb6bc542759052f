"""Configuration of the methods that recover a bank of images once and then meta-learn from it alone."""

from typing import Literal

from pydantic import Field

from dfml.config.methods.replay import ReplaySettings
from dfml.settings import Section


class InversionThenMetaSettings(Section):
    """A static bank of recovered images, then MAML, ANIL or ProtoNet on episodes of it."""

    learner: Literal["maml", "anil", "protonet"] = Field("maml", description="How the learner adapts.")
    start: Literal["random", "zero_head", "best_model"] = Field(
        "random", description="The meta-learner at first, as `free.start`."
    )
    iterations: int = Field(100, ge=1, description="Replay phases; the settings of one are those of `replay`.")
    replay: ReplaySettings = Field(ReplaySettings(), description="Episodes, inner steps and outer steps of a phase.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
