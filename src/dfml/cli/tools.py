"""Calling Snakemake and DVC from the repository, and reading what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError


@dataclass(frozen=True)
class Output:
    """A file that the workflow makes: its rule, and whether Snakemake would make it again."""

    path: str
    rule: str
    pending: bool


def snakemake(*arguments: str) -> str:
    """Run Snakemake and return what it printed on stdout; raises DfmlError with its last lines when it fails."""
    return _run("snakemake", *arguments)


def dvc(*arguments: str) -> str:
    """Run DVC and return what it printed on stdout; raises DfmlError with its own message when it fails."""
    return _run("dvc", *arguments)


def planned_outputs(configuration: Sequence[str]) -> list[Output]:
    """Every output of the workflow under the given options, such as ``--configfile FILE``."""
    table = snakemake("--summary", *configuration)
    rows = [line.split("\t") for line in table.splitlines() if line.startswith("results/")]
    return [
        Output(path, rule, pending == "update pending")
        for path, _, rule, _, state, pending in rows
        if state != "removed temp file"  # parts of a zoo, which is whole
    ]


def dvc_status() -> dict[str, Any]:
    """What differs from `dvc.lock`: per stage a list of ``changed deps`` and ``changed outs``; empty if nothing."""
    return json.loads(dvc("status", "--json"))


def require_repository() -> None:
    """Raise DfmlError outside the repository's root, where there is nothing to work on."""
    missing = [name for name in ("workflow/Snakefile", "dvc.yaml") if not Path(name).is_file()]
    if missing:
        raise DfmlError(f"{Path.cwd()} has no {' and no '.join(missing)}: call dfml from the root of the repository")


def require_quiet() -> None:
    """Raise DfmlError while a run is going on, or one was killed, or DVC itself is running a stage."""
    if os.environ.get("DVC_STAGE"):
        raise DfmlError("DVC is running a stage; call dfml when `dvc repro` has ended")
    if any(Path(".snakemake/locks").glob("*")):
        raise DfmlError(
            "a run is going on in this folder: wait for its end. If it was killed, `snakemake --unlock` takes the "
            "lock away and the next run finishes what is incomplete"
        )


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr or done.stdout).strip().splitlines()
        raise DfmlError(f"`{tool} {' '.join(arguments)}` failed:\n" + "\n".join(said[-12:]))
    return done.stdout
