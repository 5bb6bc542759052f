"""Configuration of data sets, networks and pools: what the zoo is made of."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from dfml.config.base import DisagreementError, Problem, Section, distinct
from dfml.config.methods.names import Access

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class DatasetSettings(Section):
    """Where the images of one data set come from."""

    source: Literal["embedded", "folder"] = Field(
        "embedded", description="`embedded`: shipped with the repository; `folder`: one sub-folder per class."
    )
    path: str | None = Field(None, description="Folder source: the directory that holds one sub-folder per class.")
    side: int = Field(32, ge=16, le=224, multiple_of=4, description="Image height and width in pixels.")
    split: str | None = Field(
        None, description="Folder source: JSON file with the class split; null draws one from `split_seed`."
    )
    split_seed: int = Field(0, ge=0, description="Folder source: seed of the class split when `split` is null.")
    fractions: tuple[float, float, float] = Field(
        (0.64, 0.16, 0.20),
        strict=False,
        description="Folder source: shares of meta-train, meta-val and meta-test classes.",
    )

    @model_validator(mode="after")
    def _keys_fit_the_source(self) -> "DatasetSettings":
        if problems := list(self._problems()):
            raise DisagreementError(problems)
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.source == "folder" and not self.path:
            yield Problem("path", "a `folder` data set needs the directory with one sub-folder per class", ("source",))
        if self.source == "embedded":
            for key, value in (("path", self.path), ("split", self.split)):
                if value is not None:
                    message = "embedded data sets have their own; remove this key, or set `source: folder`"
                    yield Problem(key, message, ("source",))
            if self.side != 32:
                yield Problem("side", "embedded data sets have side 32; remove this key", ("source",))
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            shares = ", ".join(f"{share:g}" for share in self.fractions)
            yield Problem("fractions", f"must be three positive numbers that sum to 1, got {shares}")


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


class PoolSettings(Section):
    """A named union of zoos: what a method is given."""

    datasets: tuple[Name, ...] = Field(
        ("icons_colour",), min_length=1, strict=False, description="Data sets whose zoos are united."
    )
    networks: tuple[Name, ...] = Field(
        ("conv4",),
        min_length=1,
        strict=False,
        description="Networks whose zoos are united (drawn per model).",
    )
    methods: tuple[Name, ...] | None = Field(
        None,
        strict=False,
        description="Methods run on this pool; null runs every method of the top-level list, [] none.",
    )
    shots: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, strict=False, description="Numbers of shots run on this pool; null runs every one of the top-level list."
    )
    access: Access = Field(
        "weights",
        description="What the owner of the models gives away: their `logits` for any image, `gradients` of these with "
        "respect to the image as well, or all `weights`. Methods that need more are n/a.",
    )

    _no_repetition = field_validator("datasets", "networks", "methods", "shots")(distinct)
