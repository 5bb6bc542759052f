"""How a JSON artefact becomes a checked, typed object, with one clear error when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dfml.errors import FileFormatError
from dfml.files.reading import read_json

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
