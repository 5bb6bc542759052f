"""Manifests: JSON artefacts that are read as a closed model."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dfml.errors import FileFormatError
from dfml.runtime.files import read_json

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
