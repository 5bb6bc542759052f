"""What every JSON file on the shelf has in common: a closed model that writes and reads it. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dfml.errors import FileFormatError, is_printable, some
from dfml.files.atomic import write_json
from dfml.files.reading import LONGEST_NAME, LONGEST_TEXT, read_json


@dataclass(frozen=True, order=True)
class Cell:
    """One learner: a method on a pool at a number of shots with a seed."""

    pool: str
    method: str
    shots: int
    seed: int


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
"""A line that ends up in messages, tables and figures."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_printable)]
"""What something is called."""

Percent = Annotated[float, Field(ge=0.0, le=100.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
"""A number for each of red, green and blue."""

_SHOWN_PROBLEMS = 5


class Closed(BaseModel):
    """Base of all that a JSON file holds: no further keys, strict types, no NaN or infinity, read-only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def fields_of(self, base: type[Closed]) -> dict[str, Any]:
        """What it says in the fields that it has from ``base``, by name, to be said again elsewhere."""
        return {name: getattr(self, name) for name in base.model_fields}


class Artefact(Closed):
    """Base of every JSON file on the shelf.

    Attributes:
        FORMAT: What such a file calls itself.
        VERSION: Which keys it has; another number for other keys.
        MAKER: What makes such a file, as messages say it.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int]
    MAKER: ClassVar[str]

    def save(self, path: Path) -> None:
        """Write it as JSON, the format and its version first; readers see the old file or the new one.

        Raises:
            DfmlError: the disk is full.
        """
        write_json(path, self.content())

    def content(self) -> dict[str, Any]:
        """What :meth:`save` writes, as plain values."""
        return {"format": self.FORMAT, "version": self.VERSION, **self.model_dump()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: missing, no JSON, of another format or version, or with wrong keys; it names the file,
                every wrong key (five at most) and what to run again.
        """
        return cls.of(read_json(path, format=cls.FORMAT, version=cls.VERSION, maker=cls.MAKER), path)

    @classmethod
    def of(cls, content: dict[str, Any], path: Path) -> Self:
        """From what the file at ``path`` says; raises FileFormatError for wrong keys as :meth:`load` does."""
        try:
            return cls.model_validate({key: value for key, value in content.items() if key not in _HEADER})
        except ValidationError as error:
            raise refusal(path, error, cls.MAKER) from None


_HEADER = ("format", "version")


def refusal(path: Path, error: ValidationError, maker: str) -> FileFormatError:
    """What to raise for a file whose contents are wrong: its name, every wrong key (five at most), what to run."""
    problems = [_describe(problem) for problem in error.errors(include_url=False)]
    shown = some(problems, _SHOWN_PROBLEMS, between="; ")
    return FileFormatError(f"{path}: {shown}; delete it and run {maker} again")


def _describe(problem: ErrorDetails) -> str:
    """``results.0.accuracy: Input should be a valid number`` for one pydantic problem."""
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where}: {problem['msg']}"
