"""`dfml sweep`: a grid of settings as experiments that share their zoos."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console

from dfml.cli import compare
from dfml.cli.tools import require_repository
from dfml.config.sweep import Point, plan_sweep
from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write
from dfml.jobs.provenance import COMMAND

DEFAULT = "config/config.yaml"
FOLDER = Path("config/sweeps")
"""Where what each experiment changes is written, one file per experiment."""

SHARED_ZOOS = Path(".cache/zoos")
CACHE = "SNAKEMAKE_OUTPUT_CACHE"


def run(console: Console, *, words: Sequence[str], dry_run: bool) -> int:
    """The command: run every experiment to its end, one after the other, then compare them.

    ``words`` are configuration files, then settings `KEY=VALUE,VALUE`; with ``dry_run`` Snakemake only plans. One that
    fails does not keep the others from running.

    Raises:
        DfmlError: settings or files are wrong; nothing was run then.
    """
    require_repository()
    files = [word for word in words if "=" not in word]
    points = plan_sweep([DEFAULT, *files], [word for word in words if "=" in word])
    failed = [point.name for point in points if not _finished(console, files, point, dry_run=dry_run)]
    if failed:
        raise DfmlError(f"these experiments did not come to their end: {', '.join(failed)}; the same command goes on")
    return 0 if dry_run else compare.run(console, [Path("results", point.name) for point in points], output=None)


def _finished(console: Console, files: Sequence[str], point: Point, *, dry_run: bool) -> bool:
    path = FOLDER / f"{point.name}.yaml"
    # Zoos are found again by all that they depend on but the settings of `runtime`.
    shared = [] if "runtime" in point.changes else ["--cache", "train_zoo"]
    called = ["snakemake", *shared, "--configfile", *files, str(path)]
    zoos = os.environ.get(CACHE)
    # A cache's files are reached by links, which are to hold from every folder.
    place = shlex.quote(zoos) if zoos else f'"$PWD/{SHARED_ZOOS}"'
    command = f"{CACHE}={place} {shlex.join(called)}" if shared else shlex.join(called)
    head = f"# A point of a sweep: {command}\n"
    content = head + yaml.safe_dump(dict(point.changes), sort_keys=False)
    if not path.is_file() or path.read_bytes() != content.encode("utf-8"):
        atomic_write(path, content.encode("utf-8"))
    console.print(f"{point.name}: {command}", markup=False, soft_wrap=True)
    zoos = zoos or str(SHARED_ZOOS.absolute())
    Path(zoos).mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", *called, *(["--dry-run"] if dry_run else [])]
    return _exit_code(words, os.environ | {CACHE: zoos, COMMAND: command}) == 0


def _exit_code(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Of a process; after Ctrl-C, which it gets as well, it has the time it needs to end its jobs and to unlock.

    A second signal is passed on, for a process that did not get the first.
    """
    process, interrupted = subprocess.Popen(words, env=environment), False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            if interrupted:
                process.send_signal(signal.SIGINT)
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode
