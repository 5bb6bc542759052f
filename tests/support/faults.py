"""Snakemake in the background, to be hit: what it runs, and how to wait for the right moment."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from support.workflow import Workflow

# Only a hang is to fail: busy machines take ten times as long as idle ones.
PATIENCE = 900
# Short against the time between two resume points, so that a job is hit where it was meant to be.
PAUSE = 0.01
Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """Poll until ``condition()`` is true; returns its value."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(PAUSE)
    return found


@dataclass
class Head:
    """A running Snakemake with its jobs, in a process group of their own as under a terminal."""

    workflow: Workflow
    process: subprocess.Popen
    log: Path

    @property
    def output(self) -> str:
        """What it and its jobs have printed so far."""
        return self.log.read_text(encoding="utf-8")

    def finish(self) -> int:
        """Wait for its end; returns the exit status."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL the head alone, as the out-of-memory killer does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def press_ctrl_c(self) -> None:
        """SIGINT for everything in the foreground, as a terminal sends it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def when_saved(self, rule: str, resume: Path) -> int:
        """Wait until the job of ``rule`` has saved its first resume file; returns the pid of its process."""

        def at_work() -> int | None:
            assert self.process.poll() is None, f"ended before {resume} was there:\n{self.output}"
            return script_pid(self.workflow.folder, rule) if resume.exists() else None

        return wait_until(at_work, f"{rule} saves {resume}")


@contextmanager
def head(workflow: Workflow, *arguments: str) -> Iterator[Head]:
    """Start Snakemake without waiting; whatever is left of it and its jobs is killed at the end of the block."""
    handle, log = tempfile.mkstemp(dir=workflow.folder, prefix="head-", suffix=".log")
    with os.fdopen(handle, "w") as output:
        process = subprocess.Popen(
            # A test run in the background ignores Ctrl-C, and would pass that on.
            ["env", "--default-signal=INT", sys.executable, "-m", "snakemake", *arguments],
            cwd=workflow.folder,
            env=workflow.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Head(workflow, process, Path(log))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def script_pid(folder: Path, rule: str) -> int | None:
    """The process that runs the script of ``rule`` for the workflow in ``folder``; the latest if there are several."""
    pids = script_pids(folder, rule)
    return pids[-1] if pids else None


def script_pids(folder: Path, rule: str) -> list[int]:
    """All processes that run the script of ``rule`` for the workflow in ``folder``, the latest last."""
    scripts, found = f"{folder}/.snakemake/scripts/", []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            # Not the shell that starts it: that one has the whole line as one argument.
            if command[1:2] and command[1].startswith(scripts) and command[1].endswith(f".{rule}.py"):
                found.append((_started(entry), int(entry.name)))
        except (OSError, UnicodeDecodeError):
            continue  # it has ended meanwhile, or is no process
    return [pid for _, pid in sorted(found)]


def alive(pid: int) -> bool:
    """Whether the process is there and has not ended (a zombie has)."""
    try:
        return _stat(Path("/proc", str(pid)))[0] != "Z"
    except OSError:
        return False


def _started(process: Path) -> int:
    return int(_stat(process)[19])


def _stat(process: Path) -> list[str]:
    # The name before it, in parentheses, may hold anything.
    return (process / "stat").read_text().rpartition(")")[2].split()
