"""Planning a large experiment: `snakemake -n` on thousands of jobs, against a bare workflow with as many jobs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.arms import Arm, Case
from benchmarks.report import run

ROOT = Path(__file__).resolve().parents[1]
# Of the default experiment: jobs that every seed adds.
JOBS_PER_SEED = 18

BARE = """
rule all:
    input: expand("cells/{{i}}/record.json", i=range({cells}))

rule train:
    output: "zoo/{{i}}.bin"
    log: "logs/train/{{i}}.log"
    threads: 1
    resources: mem_mb=1000
    params: width=3
    shell: "true"

rule learn:
    input: "zoo/{{i}}.bin"
    output: "cells/{{i}}/learner.bin"
    log: "logs/learn/{{i}}.log"
    params: steps=3
    shell: "true"

rule evaluate:
    input: "cells/{{i}}/learner.bin"
    output: "cells/{{i}}/record.json"
    log: "logs/evaluate/{{i}}.log"
    params: episodes=3
    shell: "true"
"""


def case(jobs: int, *, rounds: int = 3) -> Case:
    """A dry run of about ``jobs`` jobs."""
    return Case(
        f"snakemake -n, {jobs} jobs",
        Arm("benchmarks.workflow:ours", {"jobs": jobs}),
        Arm("benchmarks.workflow:reference", {"jobs": jobs}, plain=True),
        rounds=rounds,
    )


def cases(device: str) -> Sequence[Case]:
    """The matrix that must be planned in seconds."""
    return [case(3000)]


def ours(*, device: torch.device, jobs: int) -> Callable[[], None]:
    """The default experiment with more seeds, planned in a folder without results."""
    folder = TemporaryDirectory()
    for part in ("config", "resources", "workflow"):
        Path(folder.name, part).symlink_to(ROOT / part)
    seeds = list(range(jobs // JOBS_PER_SEED))
    command = ["-n", "--quiet", "rules", "--directory", folder.name, "--config", f"seeds={seeds}".replace(" ", "")]

    def work() -> None:
        planned = _snakemake(Path(folder.name), command)
        assert abs(planned - jobs) < jobs / 10, f"{planned} jobs were planned: mend JOBS_PER_SEED"

    return work


def reference(*, device: torch.device, jobs: int) -> Callable[[], None]:
    """A workflow of three rules without functions, configuration or checks."""
    folder = TemporaryDirectory()
    Path(folder.name, "Snakefile").write_text(BARE.format(cells=jobs // 3), encoding="utf-8")

    def work() -> None:
        _snakemake(Path(folder.name), ["-n", "--quiet", "rules", "--directory", folder.name])

    return work


def _snakemake(folder: Path, arguments: Sequence[str]) -> int:
    """Run snakemake; returns how many jobs it plans."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    (total,) = {int(line.split()[1]) for line in run.stdout.splitlines() if line.startswith("total ")}
    return total


if __name__ == "__main__":
    run("Planning", cases)
