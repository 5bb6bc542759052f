"""The log of a job: where it is, how its records begin, what it says of the job's progress and failure."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dfml.jobs.progress import Reached, read_reached

FORMAT = "%(asctime)s %(levelname)s %(message)s"
"""Of its records, for :class:`logging.Formatter`."""

HEAD_TELLS = "DFML_HEAD_TELLS"
"""Variable of the environment that is set where the process that runs the workflow tells why a job failed."""

_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+) ", re.MULTILINE)
_TRACEBACK = "\nTraceback (most recent call last)"
_TAIL = 1 << 16  # bytes; a traceback fits, and reading it costs nothing


def job_name(log: Path) -> str:
    """The job with this log below ``logs/{experiment}``, for people: its rule and its wildcards."""
    rule, *wildcards = log.with_suffix("").parts[2:]
    return " ".join([rule, "/".join(wildcards)]).strip()


def failure(log: Path, since: float = 0.0) -> str | None:
    """Why the job failed, in one line; None if the log does not say, or is older than ``since`` (seconds of the epoch).

    Messages of exceptions stand before their traceback.
    """
    errors = [text for level, text in _records(log, since) if level == "ERROR"]
    return " ".join(errors[-1].split(_TRACEBACK)[0].split()) if errors else None


def last_reached(log: Path, since: float = 0.0) -> Reached | None:
    """How far the job's loop has come by its log; None before the first line of a loop; ``since`` as in `failure`."""
    for _, text in reversed(_records(log, since)):
        if (reached := read_reached(text.rstrip("\n"))) is not None:
            return reached
    return None


def _records(log: Path, since: float) -> list[tuple[str, str]]:
    """Level and text of the last records; none if there is no log since then."""
    try:
        with log.open("rb") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                return []
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    parts = _RECORD.split(tail)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))
