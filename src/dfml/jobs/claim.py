"""Which of two processes that do one job may write: the one that began last.

A job outlives a Snakemake that was killed. Were it to end after its successor, it would put results of older settings
in the place of new ones.
"""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write, before_each_write

# Seconds by which a clock that is set may be apart from the one by which processes are dated.
_CLOCK_ERROR = 2.0
# Seconds after the last write from which a job on another machine is taken for dead: they write every minute or so.
_SILENT = 24 * 3600.0


def claim_path(log: Path, experiment: str) -> Path:
    """Where the claim of the job with this log belongs."""
    return Path("results", experiment, "resume", log.relative_to(Path("logs", experiment))).with_suffix(".claim")


@dataclass(frozen=True)
class RunningJob:
    """A job at work: its log, and when it began in seconds of the epoch."""

    log: Path
    since: float


def running_jobs(experiment: str) -> list[RunningJob]:
    """The jobs of an experiment that hold a claim.

    Whether one on another machine is at work nobody here can tell: it counts for a day after its last write.
    """
    folder, jobs = Path("results", experiment, "resume"), []
    for path in sorted(folder.rglob("*.claim")):
        node, _, rest = (_content(path) or b"").decode(errors="replace").partition(" ")
        pid, _, moment = rest.strip().partition(" ")
        if not (pid.isdigit() and moment.isdigit()):
            continue
        since = int(moment) / 1e9
        here = node == platform.node()
        if _is_at_work(int(pid), since) if here else _has_written(path):
            log = Path("logs", experiment, path.relative_to(folder)).with_suffix(".log")
            jobs.append(RunningJob(log, since))
    return jobs


def _has_written(path: Path) -> bool:
    """Whether the job on another machine that holds this claim has written lately."""
    try:
        return time.time() - path.stat().st_mtime < _SILENT
    except FileNotFoundError:
        return False  # it has ended just now


def _is_at_work(pid: int, since: float) -> bool:
    """Whether the process of this number is there and was at ``since``: numbers are given again."""
    try:
        return psutil.Process(pid).create_time() < since + _CLOCK_ERROR
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # another user's


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold the claim at ``path``; while another process holds it, every `atomic_write` of this one fails.

    Raises:
        DfmlError: from a write, when the job was begun again elsewhere.
    """
    own = f"{platform.node()} {os.getpid()} {time.time_ns()}\n".encode()

    def check() -> None:
        if _content(path) != own:
            raise DfmlError("this job was begun again by another process, which is to write its results; it ends here")
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)

    atomic_write(path, own)
    try:
        with before_each_write(check):
            yield
    finally:
        if _content(path) == own:
            path.unlink()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
