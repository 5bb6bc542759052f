"""Settings of data sets: where images come from."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from dfml.settings import DisagreementError, Problem, Section


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


class EmbeddedSize(NamedTuple):
    """Classes of one split of an embedded data set, and images of its smallest class."""

    classes: int
    images: int


_ICONS = {
    "meta_train": EmbeddedSize(64, 80),
    "meta_val": EmbeddedSize(16, 89),
    "meta_test": EmbeddedSize(20, 80),
}
EMBEDDED = {
    "icons_colour": _ICONS,
    "icons": _ICONS,
    "emoji": {
        "meta_train": EmbeddedSize(66, 21),
        "meta_val": EmbeddedSize(16, 27),
        "meta_test": EmbeddedSize(20, 21),
    },
    "glyphs": {
        "meta_train": EmbeddedSize(64, 120),
        "meta_val": EmbeddedSize(16, 120),
        "meta_test": EmbeddedSize(20, 120),
    },
}
