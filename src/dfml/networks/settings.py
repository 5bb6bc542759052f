"""Settings of the zoo's networks and of the meta-learner's."""

from typing import Literal

from pydantic import Field

from dfml.settings import Section


class NetworkSettings(Section):
    """A network family at one width; its name in `networks` is the architecture in paths and tables."""

    family: Literal["conv4", "resnet10", "resnet18"] = Field("conv4", description="Network family.")
    width: int = Field(
        32,
        ge=1,
        le=512,
        description="Channels of Conv4's blocks (32 in the paper) or of a ResNet's first stage (64).",
    )
    models: int | None = Field(
        None, ge=1, le=10_000, description="Models of this network in a zoo; null takes `zoo.models`."
    )


class LearnerSettings(Section):
    """The network that is meta-learned."""

    family: Literal["conv4"] = Field("conv4", description="Network family; published learners are all Conv4.")
    width: int = Field(32, ge=1, le=512, description="Channels of its blocks (32 in the paper).")
