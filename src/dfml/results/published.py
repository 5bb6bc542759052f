"""Accuracies that others have published, `resources/published.yaml`: never mixed with measured ones. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dfml.artefacts.base import Text
from dfml.catalogue import METHODS
from dfml.results.declared import read_declared
from dfml.settings import DisagreementError, Name, Problem, Section, unknown

DECLARED = Path("resources/published.yaml")
PAGE = Path("docs/published.md")


def _method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"there is no method `{name}`; {unknown(name, METHODS)}")
    return name


class PublishedNumber(Section):
    """One 5-way accuracy in percent, on one data set or as a mean over several."""

    method: Text = Field(description="What the source calls it.")
    protocol: Name
    source: Name
    datasets: tuple[Name, ...] = Field(min_length=1, strict=False)
    shots: int = Field(ge=1)
    printed: str = Field(pattern=r"^\d{1,2}\.\d+( ± \d+\.\d+)?$", description="With its interval, if one was found.")
    ours: tuple[Annotated[str, AfterValidator(_method)], ...] = Field(min_length=1, strict=False)
    rule: Literal["finetune", "centroid_euclidean", "centroid_cosine"]

    @property
    def accuracy(self) -> float:
        """Without the interval."""
        return float(self.printed.partition(" ")[0])


class Published(Section):
    """All numbers, with how they were measured and where they were read."""

    protocols: dict[Name, Text]
    sources: dict[Name, Text]
    numbers: tuple[PublishedNumber, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        wrong = [
            Problem(f"numbers.{place}.{key}", f"`{name}`: {unknown(name, known)}")
            for place, number in enumerate(self.numbers)
            for key, name, known in (
                ("protocol", number.protocol, self.protocols),
                ("source", number.source, self.sources),
            )
            if name not in known
        ]
        if wrong:
            raise DisagreementError(wrong)
        return self

    def of(self, datasets: Sequence[str], shots: int) -> list[PublishedNumber]:
        """The numbers on exactly these data sets at this number of shots, as listed."""
        return [number for number in self.numbers if set(number.datasets) == set(datasets) and number.shots == shots]


def load_published(path: Path) -> Published:
    """Read and check the file.

    Raises:
        ConfigError: it cannot be read or a value is wrong; one line each, with file and key.
    """
    return read_declared(path, Published, parts=(PublishedNumber,))


def published_lists(published: Published) -> str:
    """The numbers as Markdown, a table for each protocol, for the page about them."""
    parts = []
    for protocol, group in groupby(published.numbers, key=lambda number: number.protocol):
        rows = [
            f"| {number.method} | {', '.join(number.datasets)} | {number.shots} | {number.printed} "
            f"| {published.sources[number.source]} |"
            for number in group
        ]
        head = ["| method | data sets | shots | published (%) | source |", "|---|---|---|---|---|"]
        parts.append("\n".join([f"*{published.protocols[protocol]}*", "", *head, *rows]))
    return "\n\n".join(parts)
