"""The receipt that every finished job leaves: its circumstances and the digests of what it made. Torch-free."""

from typing import ClassVar

from pydantic import Field

from dfml.artefacts.base import Artefact
from dfml.artefacts.provenance import Provenance


class Receipt(Artefact, Provenance):
    """A finished job: where its results come from and what they were."""

    FORMAT: ClassVar = "dfml.receipt"
    VERSION: ClassVar = 1
    MAKER: ClassVar = "the job that left it"

    inputs: dict[str, str] = Field(description="SHA-256 of every file it was given, by path")
    outputs: dict[str, str] = Field(description="SHA-256 of every file it made, by path")
