"""What the file of an adapted classifier says beside its tensors. Torch-free."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Closed, Count, Name, Positive
from dfml.artefacts.zoo import NetworkSpec

# Every network costs memory, however small its weights; no learner of ours has more than a pool's best few.
MOST_ENCODERS = 100

Rule = Literal["finetune", "centroid_euclidean", "centroid_cosine"]


class Origin(Closed):
    """The learner that was adapted: its cell, the iterate, and the digest of its weights."""

    pool: Name
    method: Name
    shots: Positive
    seed: Count
    iteration: Count
    weights_sha256: str


class ClassifierManifest(Artefact):
    """A learner adapted to classes of a user's own; kept in the metadata of the safetensors file with its tensors."""

    FORMAT: ClassVar = "dfml.classifier"
    VERSION: ClassVar = 1
    MAKER: ClassVar = "dfml adapt"

    names: list[int | Name] = Field(min_length=2, max_length=10_000, description="classes, in the order of the answers")
    images: list[Positive] = Field(description="support images of each class")
    rule: Rule
    side: Annotated[int, Field(ge=16, le=1024)] = Field(description="to which photos are resized")
    encoders: list[NetworkSpec] = Field(min_length=1, max_length=MOST_ENCODERS)
    learner: Origin
    tensors_sha256: str

    @model_validator(mode="after")
    def _classes_fit(self) -> "ClassifierManifest":
        if len(set(self.names)) < len(self.names):
            raise ValueError("a class is named twice")
        if len(self.images) != len(self.names):
            raise ValueError(f"images has {len(self.images)} numbers for {len(self.names)} classes")
        if self.rule == "finetune" and [spec.ways for spec in self.encoders] != [len(self.names)]:
            raise ValueError(f"fine-tuning has one network, with a head for its {len(self.names)} classes")
        return self
