"""Where a file comes from, as the file itself says. Torch-free."""

from typing import Any

from pydantic import Field

from dfml.artefacts.base import Closed, Text


class Provenance(Closed):
    """The job that made a file: command, code, packages, machine, settings, digests of its inputs."""

    rule: Text | None = None
    command: str | None = Field(None, description="what was typed; null if that is not known")
    git_commit: Text | None = Field(description="of the package, `-dirty` added where it differs; null if untracked")
    versions: dict[str, str] = Field(description="versions of Python and packages")
    host: str
    device: str | None = Field(description="null for a job that used none")
    tf32: bool | None = None
    settings: dict[str, Any] = Field(default_factory=dict, description="everything that was set for the job")
    inputs: dict[str, str] = Field(default_factory=dict, description="SHA-256 of every file it was given, by path")
    # Files from before commands and settings were kept have this instead; it is read and never written.
    argv: list[str] | None = Field(None, exclude=True)
