"""``zoo.json``: what is written beside a zoo's weights, and checked when it is read. Torch-free."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue, model_validator

from dfml.artefacts.base import Artefact, Channels, Closed, Count, Name, NonNegative, Percent, Positive
from dfml.artefacts.provenance import Provenance

RESNETS = ("resnet10", "resnet18")
FAMILIES = ("conv4", *RESNETS)
"""Network families of the package; any other is in a file of somebody's own."""

Architecture = tuple[str, int, str, bool]
"""What two networks that may exchange weights have in common, but for their heads."""


def architecture(family: str, width: int, options: Mapping[str, Any], *, stem_relu: bool) -> Architecture:
    """Of a network with these values; a stem is a matter of ResNets."""
    return family, width, json.dumps(options, sort_keys=True), stem_relu or family not in RESNETS


class NetworkSpec(Closed):
    """All that is needed to rebuild a classifier's module; stored beside its weights."""

    family: Name
    width: int = Field(ge=1, le=4096)
    ways: int = Field(ge=1, le=100_000)
    side: int | None = Field(ge=16, le=1024)
    stem_relu: bool = True
    grid: int = Field(1, ge=1, le=8, exclude_if=lambda grid: grid == 1, description="of a Conv4 for any side")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="of a network of somebody's own")
    code: str | None = Field(None, description="digest of the files that such a network is in")

    def __hash__(self) -> int:
        return hash((self.architecture, self.ways, self.side, self.grid, self.code))

    @property
    def architecture(self) -> Architecture:
        """What it has in common with networks of other heads."""
        return architecture(self.family, self.width, self.options, stem_relu=self.stem_relu)

    @model_validator(mode="after")
    def _is_ours_or_has_its_code(self) -> "NetworkSpec":
        if (self.family in FAMILIES) != (self.code is None):
            raise ValueError(
                f"family {self.family!r} is not one of {', '.join(FAMILIES)}, nor is there a digest of its code"
                if self.code is None
                else f"{self.family} is a family of the package and has no code of its own"
            )
        return self


WEIGHTS = "zoo.safetensors"
JUDGES = "judges.safetensors"
MANIFEST = "zoo.json"

# As many as the configuration allows: every model costs memory, however small its weights.
MOST_MODELS = 10_000


class ModelImages(Closed):
    """How many images of its classes a model has in each of three parts, which share none."""

    train: Positive
    selection: Positive = Field(description="chose its epoch, and rank it among others")
    test: Positive = Field(description="chose nothing; measured its own accuracy")


class ModelEntry(Closed):
    """One classifier: the ordered classes of its outputs, its images, and its accuracies in percent."""

    index: Count
    classes: list[int] = Field(min_length=2)
    images: ModelImages
    accuracy: Percent = Field(description="own accuracy: of the stored weights, on its test images")
    selection_accuracy: Percent = Field(description="of the stored weights, on its selection images")
    selection_accuracy_best: Percent
    selection_accuracy_last: Percent
    epoch_best: Positive

    @model_validator(mode="after")
    def _stored_is_the_best_or_the_last(self) -> "ModelEntry":
        best, last = self.selection_accuracy_best, self.selection_accuracy_last
        if last > best:
            raise ValueError(f"selection_accuracy_last, {last:g}, is above selection_accuracy_best, {best:g}")
        if self.selection_accuracy not in (best, last):
            raise ValueError("selection_accuracy is neither that of the best epoch nor that of the last")
        return self


class ZooManifest(Artefact):
    """A zoo of one data set, one architecture and one seed.

    ``judges`` are further models, trained independently on the classes of the first ``models``; no method sees them.
    """

    FORMAT: ClassVar = "dfml.zoo"
    VERSION: ClassVar = 2
    MAKER: ClassVar = "the rule train_zoo"

    dataset: Name
    architecture: Name
    network: NetworkSpec
    seed: Count
    side: int = Field(ge=1, le=1024)
    mean: Channels
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)
    class_names: list[Name] = Field(max_length=100_000)
    models: list[ModelEntry] = Field(min_length=1, max_length=MOST_MODELS)
    weights_sha256: str
    judges: list[ModelEntry]
    judges_sha256: str | None
    seconds: NonNegative
    provenance: Provenance

    @model_validator(mode="after")
    def _side_is_the_networks(self) -> "ZooManifest":
        if self.network.side not in (None, self.side):
            raise ValueError(f"side {self.side} is not that of its network, {self.network.side}")
        return self

    @model_validator(mode="after")
    def _classes_exist(self) -> "ZooManifest":
        for entry in [*self.models, *self.judges]:
            distinct = len(set(entry.classes)) == len(entry.classes)
            known = all(0 <= c < len(self.class_names) for c in entry.classes)
            if not (distinct and known and len(entry.classes) == self.network.ways):
                raise ValueError(
                    f"model {entry.index}: its classes must be {self.network.ways} distinct ids "
                    f"below {len(self.class_names)}, got {entry.classes}"
                )
        return self

    @model_validator(mode="after")
    def _entries_are_in_order(self) -> "ZooManifest":
        for position, entry in enumerate(self.models):
            if entry.index != position:
                raise ValueError(f"model {position} has index {entry.index}")
        for judge in self.judges:
            if judge.index >= len(self.models) or judge.classes != self.models[judge.index].classes:
                raise ValueError(f"judge {judge.index} does not have the classes of a model of the zoo")
        if bool(self.judges) != (self.judges_sha256 is not None):
            raise ValueError("judges and the digest of their weights must come together")
        return self
