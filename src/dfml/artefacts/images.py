"""``images.json``: what is written beside prepared images, and checked when it is read. Torch-free."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dfml.artefacts.base import Name, Text, read_manifest_as

MANIFEST = "images.json"
FORMAT, VERSION = "dfml.images", 1
SPLITS = ("meta_train", "meta_val", "meta_test")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SplitEntry(_Closed):
    """The file of one split, its classes in order, and how many images each has."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    names: list[Name] = Field(min_length=1)
    counts: list[Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _one_count_per_class(self) -> "SplitEntry":
        if len(self.names) != len(self.counts) or len(set(self.names)) != len(self.names):
            raise ValueError("needs distinct names and a count for each")
        return self


class ImagesManifest(_Closed):
    """The prepared images of one data set."""

    format: Literal["dfml.images"] = FORMAT
    version: Literal[1] = VERSION
    dataset: Name
    source: Name
    licence: Text
    side: int = Field(ge=1)
    channels: int = Field(ge=1)
    mean: list[float] = Field(min_length=1)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    splits: dict[str, SplitEntry]

    @model_validator(mode="after")
    def _splits_are_beside_it(self) -> "ImagesManifest":
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"needs exactly the splits {', '.join(SPLITS)}")
        for split, entry in self.splits.items():
            # A name of the writer's choice could lead anywhere.
            if entry.file != f"{split}.npz":
                raise ValueError(f"the file of {split} must be {split}.npz in the same folder, not {entry.file!r}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("needs a mean and a standard deviation for each channel")
        return self


def read_images_manifest(folder: Path) -> ImagesManifest:
    """Read and check ``images.json``.

    Raises:
        FileFormatError: missing, damaged, of another version, or with impossible contents.
    """
    remedy = "delete its folder and run the rule prepare_images again"
    return read_manifest_as(ImagesManifest, folder / MANIFEST, format=FORMAT, version=VERSION, remedy=remedy)
