"""``metrics.json``: accuracies as DVC compares them from run to run. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import ConfigDict, RootModel, ValidationError

from dfml.artefacts.base import Name, Percent, refusal
from dfml.files.atomic import write_json
from dfml.files.reading import read_plain_json

ByRule = dict[Name, Percent]
ByShots = dict[Name, dict[Name, ByRule]]


class Metrics(RootModel[dict[Name, dict[Name, ByShots]]]):
    """Mean accuracy over seeds in percent, nested as pool, method, shots, data set, rule with batch-norm mode.

    The file is what DVC reads as well, so it has no format and version beside the numbers.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    def save(self, path: Path) -> None:
        """Write it as JSON; raises DfmlError when the disk is full."""
        write_json(path, self.model_dump())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote; raises FileFormatError, which names the file, every wrong key and the rule."""
        maker = "the rule make_results"
        try:
            return cls.model_validate(read_plain_json(path, maker=maker))
        except ValidationError as error:
            raise refusal(path, error, maker) from None
