"""``images.json``: what is written beside prepared images, and checked when it is read. Torch-free."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dfml.artefacts.base import Artefact, Closed, Count, Name, Positive, Text
from dfml.errors import DataError

MANIFEST = "images.json"
SPLITS = ("meta_train", "meta_val", "meta_test")


@dataclass(frozen=True)
class Drawn:
    """Episodes that are drawn of a split: images of a class, and the key that says how many queries."""

    split: str
    shots: int
    queries: int
    key: str


class Wanted(dict[str, object]):
    """What the images of a data set have to give.

    These are its splits that are read, the images of a class that an episode of evaluation takes, and the episodes that
    methods draw of it.

    Snakemake sees an empty dictionary, whatever it holds: no reason for a job to run again, nor for its cache between
    workflows to miss, which wants values that JSON has.
    """

    def __init__(self, splits: Iterable[str], images: int, episodes: Iterable[Drawn]) -> None:
        super().__init__()
        self.splits, self.images, self.episodes = frozenset(splits), images, tuple(episodes)


class SplitEntry(Closed):
    """The file of one split, its classes in order, and how many images each has."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    names: list[Name]
    counts: list[Positive]

    @model_validator(mode="after")
    def _one_count_per_class(self) -> "SplitEntry":
        if len(self.names) != len(self.counts) or len(set(self.names)) != len(self.names):
            raise ValueError("needs distinct names and a count for each")
        return self


class Copies(Closed):
    """Images that stood in the source more than once: numbers of groups, and what was left out.

    Attributes:
        same_files: Groups of files of the same bytes.
        same_pixels: Groups of images of the same pixels at the side used, those of the same bytes among them.
        across_splits: Groups of the same pixels in more than one split.
        dropped: Images of meta-train and of meta-val that meta-test shows too, by their path in the source.
    """

    same_files: Count
    same_pixels: Count
    across_splits: Count
    dropped: dict[Literal["meta_train", "meta_val"], list[Text]]


class ImagesManifest(Artefact):
    """The prepared images of one data set; mean and standard deviation per channel, in units of [0, 1].

    These are the published ones where the data set has any (`dfml.data.known`), else measured on meta-train; without
    meta-train there are none, as only models need them that are trained on it. Splits may be empty, though not all:
    pictures without classes are in meta-train alone. Of embedded images `copies` is None.
    """

    FORMAT: ClassVar = "dfml.images"
    VERSION: ClassVar = 2
    MAKER: ClassVar = "the rule prepare_images"

    dataset: Name
    source: Name
    licence: Text
    side: Positive
    channels: Positive
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    normalisation: Literal["measured", "published", "none"]
    copies: Copies | None
    splits: dict[str, SplitEntry]

    @model_validator(mode="after")
    def _splits_are_beside_it(self) -> "ImagesManifest":
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"needs exactly the splits {', '.join(SPLITS)}")
        if not any(entry.names for entry in self.splits.values()):
            raise ValueError("no split has classes")
        for split, entry in self.splits.items():
            # A name of the writer's choice could lead anywhere.
            if entry.file != f"{split}.npz":
                raise ValueError(f"the file of {split} must be {split}.npz in the same folder, not {entry.file!r}")
        if not len(self.mean) == len(self.std) == (0 if self.normalisation == "none" else self.channels):
            raise ValueError("needs a mean and a standard deviation for each channel, or none and no normalisation")
        if self.splits["meta_train"].names and self.normalisation == "none":
            raise ValueError("has meta-train classes and no normalisation")
        return self

    def check_enough(self, *, minimum_classes: int, minimum_images: int, needed: Collection[str] = SPLITS) -> None:
        """Check what is read, so that a setting raised after the images were prepared fails before hours of work.

        Args:
            minimum_classes: Fewest classes of a split: ways.
            minimum_images: Fewest images of a class: shots + queries.
            needed: Splits that have to be enough.

        Raises:
            DataError: a split or a class has too few.
        """
        for part, split in ((part, self.splits[part]) for part in SPLITS if part in needed):
            if len(split.names) < minimum_classes:
                raise DataError(
                    f"{self.dataset}: {part} has {len(split.names)} classes, but {minimum_classes} are needed; "
                    "lower `ways`"
                )
            counts = zip(split.names, split.counts, strict=True)
            short = [f"{name} ({count})" for name, count in counts if count < minimum_images]
            if short:
                raise DataError(
                    f"{self.dataset}: every class needs at least {minimum_images} images; {part} has too few in: "
                    f"{', '.join(short)}; lower `shots` or `evaluation.queries`"
                )

    def enough_for_a_curve(self, *, classes: int, images: int) -> bool:
        """Whether meta-val has as many classes of as many images."""
        split = self.splits["meta_val"]
        return len(split.names) >= classes and min(split.counts) >= images

    def check_episodes(self, drawn: Iterable[Drawn]) -> None:
        """The same for episodes that take more images of one split than evaluation does.

        Raises:
            DataError: a class has too few.
        """
        for episode in drawn:
            split, needed = self.splits[episode.split], episode.shots + episode.queries
            counts = zip(split.names, split.counts, strict=True)
            if short := [f"{name} ({count})" for name, count in counts if count < needed]:
                raise DataError(
                    f"{self.dataset}: {episode.shots} shots and {episode.queries} queries take {needed} images of a "
                    f"class; {episode.split} has too few in: {', '.join(short)}; lower `{episode.key}` or add images"
                )
