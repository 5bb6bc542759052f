"""``zoo.json``: what is written beside a zoo's weights, and checked when it is read. Torch-free."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dfml.artefacts.base import Name


class NetworkSpec(BaseModel):
    """All that is needed to rebuild a classifier's module; stored beside its weights."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    family: Literal["conv4", "resnet10", "resnet18"]
    width: int = Field(ge=1, le=4096)
    ways: int = Field(ge=1, le=100_000)
    side: int | None = Field(ge=16, le=1024)
    stem_relu: bool = True


FORMAT, VERSION = "dfml.zoo", 1
WEIGHTS = "zoo.safetensors"
JUDGES = "judges.safetensors"
MANIFEST = "zoo.json"

# As many as the configuration allows: every model costs memory, however small its weights.
MOST_MODELS = 10_000


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelEntry(_Closed):
    """One classifier: the ordered classes of its outputs and its own held-out accuracy in percent."""

    index: int = Field(ge=0)
    classes: list[int] = Field(min_length=2)
    accuracy_best: float = Field(ge=0, le=100)
    accuracy_last: float = Field(ge=0, le=100)
    accuracy_stored: float = Field(ge=0, le=100)
    epoch_best: int = Field(ge=1)


class ZooManifest(_Closed):
    """A zoo of one data set, one architecture and one seed.

    ``judges`` are further models, trained independently on the classes of the first ``models``; no method sees them.
    """

    format: Literal["dfml.zoo"] = FORMAT
    version: Literal[1] = VERSION
    dataset: Name
    architecture: Name
    network: NetworkSpec
    seed: int
    side: int = Field(ge=1, le=1024)
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)
    class_names: list[Name] = Field(max_length=100_000)
    models: list[ModelEntry] = Field(min_length=1, max_length=MOST_MODELS)
    weights_sha256: str
    judges: list[ModelEntry]
    judges_sha256: str | None
    seconds: float = Field(ge=0)
    provenance: dict

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
