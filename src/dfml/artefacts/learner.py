"""``learner.json``: all that is known of a learner beside its weights. Torch-free."""

from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Field, Tag, model_validator

from dfml.artefacts.base import Artefact, Channels, Closed, Count, Name, NonNegative
from dfml.artefacts.cell import CellFacts, Learning
from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import NetworkSpec

WEIGHTS, MANIFEST, HISTORY = "learner.safetensors", "learner.json", "history.csv"

# Far more than any method keeps: every network costs memory, however small its weights.
MOST_NETWORKS = 10_000


def _kind(encoder: Any) -> str:
    given = encoder if isinstance(encoder, dict) else getattr(encoder, "__dict__", {})
    return "imported" if "card" in given else "network"


# The kind is chosen by its keys, so that what is said of a wrong encoder is about what it is.
Encoder = Annotated[
    Annotated[NetworkSpec, Tag("network")] | Annotated[ImportedFeatures, Tag("imported")], Discriminator(_kind)
]


class SnapshotEntry(Closed):
    """One kept iterate: after how many iterations and seconds of training."""

    iteration: Count
    seconds: NonNegative


class Normalisation(Closed):
    """Mean and standard deviation per channel, in units of [0, 1]."""

    mean: Channels
    std: Channels


class LearnerManifest(Artefact, Normalisation, Learning, CellFacts):
    """All that is known of a learner beside its weights; its own normalisation is that of unknown data sets."""

    FORMAT: ClassVar = "dfml.learner"
    VERSION: ClassVar = 2
    MAKER: ClassVar = "the rule meta_learn"

    encoders: list[Encoder] = Field(min_length=1)
    snapshots: list[SnapshotEntry] = Field(min_length=1)
    finetune: bool
    head_only: bool = False
    domains: dict[Name, Normalisation] = Field(default_factory=dict)
    weights_sha256: str
    provenance: Provenance

    @model_validator(mode="after")
    def _networks_are_few(self) -> "LearnerManifest":
        if len(self.encoders) * len(self.snapshots) > MOST_NETWORKS:
            raise ValueError(f"its snapshots have more than {MOST_NETWORKS} networks")
        return self
