"""``zoo.json`` of a zoo that was trained elsewhere. Torch-free."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Channels, Closed, Count, Name, NonNegative, Percent, Positive, Text
from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import ZooManifest
from dfml.files.reading import read_plain_json

Deviations = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
"""Of red, green and blue."""


class FeatureLayer(Closed):
    """Where the features of an image are in a module: what a layer takes or gives, over the picture if it is a map."""

    layer: Text
    of: Literal["input", "output"]
    size: Positive


class ImportedFeatures(FeatureLayer):
    """An encoder of a learner: the features of a classifier from elsewhere, whose module its owner's card builds.

    ``card`` is the card's path, ``files`` the digests of it and of the code beside it, ``model`` the model's name.
    """

    card: Text
    files: dict[str, str]
    model: Name
    side: Positive


class ImportedModel(Closed):
    """One classifier: what it is called, the ordered classes of its outputs, and how it sees images.

    What builds it is not here, but in its owner's card: nothing runs because this file says so. ``accuracy`` is as its
    owner has it, in percent; ``mean`` and ``std`` are those of red, green and blue in units of [0, 1].
    """

    index: Count
    name: Name
    classes: list[Count] = Field(min_length=2)
    kind: Literal["module", "program", "function"] = Field(
        description="a module with its weights, an exported program, or a function that only answers"
    )
    side: Positive
    channels: Literal["rgb", "bgr", "grey"]
    mean: Channels
    std: Deviations
    outputs: Literal["logits", "probabilities", "sigmoid"]
    accuracy: Percent | None
    parameters: Count
    norms: Count = Field(description="batch norms with stored statistics, which inversion can ask")
    features: FeatureLayer | None = Field(None, description="None: it gives none")
    licence: Text
    origin: Text


class ImportedZooManifest(Artefact):
    """A zoo from elsewhere, which has no seed; ``mean`` and ``std`` are the averages over its models."""

    FORMAT: ClassVar = "dfml.imported_zoo"
    VERSION: ClassVar = 1
    MAKER: ClassVar = "the rule import_zoo, or `dfml zoo import`"

    name: Name
    card: Text = Field(description="path of its card, which says how the modules are built")
    files: dict[str, str] = Field(description="sha256 of the card and of the code beside it, by path from its folder")
    label_space: Literal["global", "per_model"]
    side: Positive
    mean: Channels
    std: Deviations
    class_names: list[Name] = Field(max_length=100_000)
    models: list[ImportedModel] = Field(min_length=1, max_length=10_000)
    weights_sha256: str
    seconds: NonNegative
    provenance: Provenance

    @property
    def dataset(self) -> str:
        """What stands for the data set of its models, which nobody has."""
        return self.name

    def features_of(self, model: ImportedModel) -> ImportedFeatures | None:
        """One of its models as an encoder, if it gives features."""
        if model.features is None:
            return None
        own = model.features.model_dump()
        return ImportedFeatures(**own, card=self.card, files=self.files, model=model.name, side=model.side)

    @model_validator(mode="after")
    def _classes_exist_and_entries_are_in_order(self) -> "ImportedZooManifest":
        for place, model in enumerate(self.models):
            if model.index != place:
                raise ValueError(f"model {place} has index {model.index}")
            if len(set(model.classes)) != len(model.classes) or max(model.classes) >= len(self.class_names):
                raise ValueError(f"model {place}: its classes must be distinct ids below {len(self.class_names)}")
        if self.side != max(model.side for model in self.models):
            raise ValueError(f"side {self.side} is not that of its largest model")
        return self


AnyZoo = ZooManifest | ImportedZooManifest


def is_imported(path: Path) -> bool:
    """Whether the zoo that a ``zoo.json`` describes came from elsewhere; raises FileFormatError where there is none."""
    content = read_plain_json(path, maker="the rule train_zoo or import_zoo")
    return isinstance(content, dict) and content.get("format") == ImportedZooManifest.FORMAT


def load_any_zoo(path: Path) -> AnyZoo:
    """A ``zoo.json`` of either kind; raises FileFormatError where it is missing or damaged."""
    return (ImportedZooManifest if is_imported(path) else ZooManifest).load(path)
