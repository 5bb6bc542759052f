"""Settings of the zoo's networks and of the meta-learner's."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from dfml.artefacts.zoo import FAMILIES, Architecture, architecture
from dfml.settings import Name, Section


class ArchitectureSettings(Section):
    """A network family at one width."""

    family: Name = Field(
        "conv4",
        description=f"Network family: {', '.join(f'`{name}`' for name in FAMILIES)}, or a name of `custom_networks`.",
    )
    width: int = Field(
        32,
        ge=1,
        le=512,
        description="Channels of Conv4's blocks (32 in the paper) or of a ResNet's first stage (64).",
    )
    options: dict[Name, Annotated[Any, Field(description="Whatever its class `Options` takes.")]] = Field(
        {}, description="Options of a network of your own (docs/adding.md)."
    )

    def architecture(self, *, stem_relu: bool = True) -> Architecture:
        """What networks that may exchange weights have in common."""
        return architecture(self.family, self.width, self.options, stem_relu=stem_relu)


class LearnerSettings(ArchitectureSettings):
    """The network that is meta-learned."""

    grid: int = Field(
        1,
        ge=1,
        le=8,
        description="A Conv4 for images of several sides keeps the maximum of each channel in so many rows and "
        "columns; 1 as published.",
    )
    side: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="Pixels to which the learner's images are brought, in training and afterwards; null: the side of "
        "the pool's models if they share one, else each image's own. A Conv4 for one side has the shape of the zoo's "
        "models for it.",
    )

    @model_validator(mode="after")
    def _pools(self) -> "LearnerSettings":
        if self.grid > 1 and self.family != "conv4":
            raise ValueError(f"grid: a {self.family} pools in its own way; leave grid at 1")
        if self.grid > 1 and self.side is not None:
            raise ValueError(
                "grid: is for images of several sides, and `side` leaves one; set `grid: 1` or `side: null`"
            )
        return self


class NetworkSettings(ArchitectureSettings):
    """The same of a zoo; its name in `networks` is the architecture in paths and tables."""

    models: int | None = Field(
        None, ge=1, le=10_000, description="Models of this network in a zoo; null takes `zoo.models`."
    )
