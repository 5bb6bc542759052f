"""What every JSON file on the shelf has in common: closed models, types of text, reading with one clear error."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

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
