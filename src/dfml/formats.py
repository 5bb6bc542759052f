"""Format names, versions and types that the writer and the reader of an artefact share."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dfml.errors import is_printable

RECORD_FORMAT = "dfml.record"
RECORD_VERSION = 3

INVERSION_FORMAT = "dfml.inversion"
INVERSION_VERSION = 1

LONGEST_TEXT = 1_000
# What a file system allows for one name: names of classes, data sets and pools become names of folders.
LONGEST_NAME = 255


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
"""A line that ends up in messages, tables and figures."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_printable)]
"""What something is called."""


def is_name(text: str) -> bool:
    """Whether a text can be a `Name`."""
    return 0 < len(text) <= LONGEST_NAME and is_printable(text)
