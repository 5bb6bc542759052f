"""Settings of data sets: where images come from."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from dfml.data.known import KNOWN, SplitSize
from dfml.settings import DisagreementError, Problem, Section

Source = Literal[
    "embedded", "folder", "cifar_fs", "mini_imagenet", "cub", "vgg_flower", "omniglot", "eurosat", "caltech101"
]


class DatasetSettings(Section):
    """Where the images of one data set come from."""

    source: Source = Field(
        "embedded",
        description="`embedded`: shipped with the repository; `folder`: your own; else a copy of that public data set "
        "(docs/your_images.md).",
    )
    path: str | None = Field(
        None,
        description="All but embedded: a folder or an archive (`.zip`, `.tar`, `.tar.gz`, `.tgz`) of class folders.",
    )
    side: int = Field(
        32,
        ge=16,
        le=224,
        multiple_of=4,
        description="Image height and width in pixels; of a public data set its own where this key is not given.",
    )
    split: str | None = Field(
        None,
        description="Folder source: JSON or CSV file with the class split; null takes that of folders `train`, `val` "
        "and `test` of different classes, or draws one from `split_seed`.",
    )
    split_seed: int = Field(0, ge=0, description="Folder source: seed of the class split that is drawn.")
    fractions: tuple[float, float, float] = Field(
        (0.64, 0.16, 0.20),
        strict=False,
        description="Folder source: shares of meta-train, meta-val and meta-test classes in the split that is drawn; "
        "`[0, 0, 1]` for a data set on which learners are only evaluated.",
    )

    epochs: int | None = Field(
        None,
        ge=1,
        description="Training epochs of the models on this data set, whatever their network; null: as below `zoo`.",
    )
    recolour: bool | None = Field(
        None,
        description="Whether `recolour` of the zoo and of replayed episodes may change its colours, since they say "
        "nothing of a class; null: those of embedded drawings only.",
    )

    @model_validator(mode="before")
    @classmethod
    def _side_of_the_source(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "side" not in data and isinstance(known := data.get("source"), str):
            return {**data, "side": KNOWN[known].side} if known in KNOWN else data
        return data

    @model_validator(mode="after")
    def _keys_fit_the_source(self) -> "DatasetSettings":
        if problems := list(self._problems()):
            raise DisagreementError(problems)
        return self

    def sizes(self, name: str) -> Mapping[str, SplitSize] | None:
        """Sizes of the splits of the data set of this name, where they are known before its images are read."""
        if self.source == "embedded":
            return EMBEDDED.get(name)
        return KNOWN[self.source].sizes if self.source in KNOWN else None

    @property
    def any_colours(self) -> bool:
        """Whether its colours say nothing of a class."""
        return self.source == "embedded" if self.recolour is None else self.recolour

    def _problems(self) -> Iterator[Problem]:
        known = KNOWN.get(self.source)
        if self.source == "folder" and not self.path:
            yield Problem("path", "a `folder` data set needs the directory with one sub-folder per class", ("source",))
        if known and not self.path:
            message = f"your copy of {known.label} is needed: {known.layouts} (from {known.page})"
            yield Problem("path", message, ("source",))
        if known and self.split is not None:
            message = f"{known.label} has its own class split; remove this key, or set `source: folder`"
            yield Problem("split", message, ("source",))
        if self.source == "embedded":
            for key, value in (("path", self.path), ("split", self.split)):
                if value is not None:
                    message = "embedded data sets have their own; remove this key, or set `source: folder`"
                    yield Problem(key, message, ("source",))
            if self.side != 32:
                yield Problem("side", "embedded data sets have side 32; remove this key", ("source",))
        if min(self.fractions) < 0 or self.fractions[2] == 0 or abs(sum(self.fractions) - 1) > 1e-6:
            shares = ", ".join(f"{share:g}" for share in self.fractions)
            message = f"must be three numbers that sum to 1, none below 0 and the last above, got {shares}"
            yield Problem("fractions", message)


_ICONS = {
    "meta_train": SplitSize(64, 80),
    "meta_val": SplitSize(16, 89),
    "meta_test": SplitSize(20, 80),
}
# The file, and the class split, that an embedded data set is made from.
EMBEDDED_FILES = {"icons": "icons", "icons_colour": "icons", "emoji": "emoji", "glyphs": "glyphs"}
EMBEDDED = {
    "icons_colour": _ICONS,
    "icons": _ICONS,
    "emoji": {
        "meta_train": SplitSize(66, 21),
        "meta_val": SplitSize(16, 27),
        "meta_test": SplitSize(20, 21),
    },
    "glyphs": {
        "meta_train": SplitSize(64, 120),
        "meta_val": SplitSize(16, 120),
        "meta_test": SplitSize(20, 120),
    },
}
