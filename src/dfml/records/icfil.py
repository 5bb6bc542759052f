"""What the table of ICFIL needs of ``icfil.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from dfml.formats import Name, Text
from dfml.icfil import FORMAT, VERSION
from dfml.records.reading import Artefact, Count, NonNegative, Percent, read_artefact


class IcfilResult(Artefact):
    """Accuracy in percent on one data set's episodes without and with ICFIL; the difference is paired by episode."""

    model_config = ConfigDict(populate_by_name=True)

    dataset: Name
    batch_norm: Name
    episodes: Annotated[int, Field(ge=1)]
    without: Percent
    without_ci95: NonNegative
    using: Annotated[Percent, Field(alias="with")]
    using_ci95: Annotated[NonNegative, Field(alias="with_ci95")]
    difference: float
    difference_ci95: NonNegative


class IcfilRecord(Artefact):
    """One learner measured with ICFIL and without."""

    pool: Name
    method: Name
    ways: Annotated[int, Field(ge=2)]
    shots: Annotated[int, Field(ge=1)]
    seed: Count
    results: Annotated[list[IcfilResult], Field(min_length=1)]
    seconds: NonNegative
    device: Text


def read_icfil(paths: Sequence[Path]) -> list[IcfilRecord]:
    """The records in the order given; raises FileFormatError for a malformed one."""
    return [read_artefact(path, IcfilRecord, format=FORMAT, version=VERSION, rule="calibrate") for path in paths]
