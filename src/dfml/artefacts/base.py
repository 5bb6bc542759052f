"""What every JSON file on the shelf has in common: closed models, types of text, reading with one clear error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dfml.errors import FileFormatError, is_printable
from dfml.files.reading import LONGEST_NAME, LONGEST_TEXT, read_json

RECORD_FORMAT = "dfml.record"
RECORD_VERSION = 3

INVERSION_FORMAT = "dfml.inversion"
INVERSION_VERSION = 1


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
"""A line that ends up in messages, tables and figures."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_printable)]
"""What something is called."""

Manifest = TypeVar("Manifest", bound=BaseModel)


def read_manifest_as(model: type[Manifest], path: Path, *, format: str, version: int, remedy: str) -> Manifest:
    """Read ``path`` as ``model``; ``remedy`` ends the message.

    Raises:
        FileFormatError: missing, damaged, of another format or version, or with impossible contents.
    """
    content = read_json(path, format=format, version=version)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise FileFormatError(f"{path}: {where}: {first['msg']}; {remedy}") from None


@dataclass(frozen=True, order=True)
class Cell:
    """One learner: a method on a pool at a number of shots with a seed."""

    pool: str
    method: str
    shots: int
    seed: int


Percent = Annotated[float, Field(ge=0.0, le=100.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]

_SHOWN_PROBLEMS = 5


class Artefact(BaseModel):
    """Base of every JSON artefact read here: strict types, no NaN or infinity, read-only.

    Keys that a reader does not need are ignored; the format version, not the set of keys, says whether a
    file is understood.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


ArtefactType = TypeVar("ArtefactType", bound=Artefact)


def read_artefact(path: Path, model: type[ArtefactType], *, format: str, version: int, rule: str) -> ArtefactType:
    """Read ``path`` as ``model``.

    Raises FileFormatError, naming the file, every wrong key (five at most) and the workflow rule that writes
    such files, when the file is missing, is not JSON, has another format or version, or fails validation.
    """
    content = read_json(path, format=format, version=version)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"; and {more} more" if more > 0 else ""
        raise FileFormatError(
            f"{path}: not a valid {format} file ({shown}{rest}). Delete it and run the rule {rule} again."
        ) from None


def _describe(problem: dict) -> str:
    """``results.0.accuracy: Input should be a valid number`` for one pydantic problem."""
    where = ".".join(str(part) for part in problem["loc"]) or "file"
    return f"{where}: {problem['msg']}"
