"""A copy of the workflow in a folder of its own, driven through Snakemake's command line as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.repository import ROOT

COPIED = ("workflow", "config", "src")


@dataclass(frozen=True)
class Job:
    """What a dry run says of one job: its rule and what it reads and makes."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    resources: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """Exit status of a call and all that it printed."""

    status: int
    output: str

    @property
    def jobs(self) -> Counter[str]:
        """Number of jobs per rule, from the table that Snakemake prints first."""
        table = re.search(r"^-+ +-+\n(.*?)^total ", self.output, re.MULTILINE | re.DOTALL)
        rows = (line.split() for line in table.group(1).splitlines()) if table else ()
        return Counter({rule: int(count) for rule, count in rows})

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything was up to date."""
        return self.status == 0 and "Nothing to be done" in self.output

    def listed(self) -> Iterator[Job]:
        """Every job of a dry run with its files, as `--quiet host` prints them."""
        blocks = re.split(r"\n(?:local)?rule (?=\w+:\n)", self.output.split("\nJob stats:", 2)[1])
        for block in blocks[1:]:
            fields = dict(re.findall(r"^    (\w+): (.*)$", block, re.MULTILINE))
            yield Job(
                block[: block.index(":")],
                *(tuple(filter(None, fields.get(name, "").split(", "))) for name in ("input", "output")),
                dict(pair.split("=", 1) for pair in fields.get("resources", "").split(", ") if "=" in pair),
            )


# The pool that the default experiment describes and leaves out, with some methods.
SEVERAL_ARCHITECTURES = {"multi_architecture": {"methods": ["random", "best", "zoo_features", "free_heads"]}}


@dataclass(frozen=True)
class Workflow:
    """The workflow, its configuration and its package, copied into ``folder`` to be changed."""

    folder: Path

    @classmethod
    def copied_to(cls, folder: Path) -> "Workflow":
        """Copy what the workflow consists of; images, which no test changes, are linked."""
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        shutil.copy(ROOT / "environment.yml", folder)
        (folder / "resources").symlink_to(ROOT / "resources")
        return cls(folder)

    @classmethod
    def tiny(cls, folder: Path, experiment: str, **changes: Any) -> "Workflow":
        """A copy whose default is the smoke configuration with two methods, one pool and one seed; then ``changes``."""
        workflow = cls.copied_to(folder)
        shutil.copy(workflow.folder / "config/smoke.yaml", workflow.folder / "config/config.yaml")
        pools = {"multi_architecture": {"methods": []}}
        workflow.configure(experiment=experiment, seeds=[0], shots=[1], methods=["random", "free"], pools=pools)
        workflow.configure(**changes)
        return workflow

    def duplicate(self, folder: Path) -> "Workflow":
        """Copy everything, results and Snakemake's own records included, with its times."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder)

    def snakemake(self, *arguments: str, **variables: str) -> Run:
        """Call Snakemake in the folder, on the folder's copy of the package."""
        return self.module("snakemake", *arguments, **variables)

    def module(self, name: str, *arguments: str, **variables: str) -> Run:
        """Run a Python module in the folder, on the folder's copy of the package."""
        done = subprocess.run(
            [sys.executable, "-m", name, *arguments],
            cwd=self.folder,
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def environment(self) -> dict[str, str]:
        """Variables under which commands work on the folder's copy of the package."""
        # A profile or Python of the machine must not decide what is tested.
        inherited = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
        return inherited | {"PYTHONPATH": str(self.folder / "src")}

    def dry_run(self, *arguments: str, **variables: str) -> Run:
        """Which jobs would run; fails when Snakemake does."""
        run = self.snakemake(*arguments, "-n", **variables)
        assert run.status == 0, run.output
        return run

    def configure(self, **keys: Any) -> None:
        """Change keys of config.yaml; sections merge at every depth, other values are replaced."""
        path = self.folder / "config" / "config.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        _merge(content, keys)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def append(self, path: str, text: str) -> None:
        """Add a line to a file of the copy, which must be there."""
        file = self.folder / path
        file.write_text(f"{file.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")

    def pretend_all_is_done(self, *arguments: str, fill: Callable[[Path], object] = lambda results: None) -> None:
        """Put a file where every output belongs and have Snakemake record all jobs as finished.

        ``fill`` may first put something readable into the folder of results.
        """
        summary = self.snakemake("--summary", *arguments)
        assert summary.status == 0, summary.output
        for path in re.findall(r"^(results/\S+)\t", summary.output, re.MULTILINE):
            output = self.folder / path
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(path)
        fill(self.folder / "results")
        touched = self.snakemake("--touch", "--forceall", "--cores", "64", *arguments)
        assert touched.status == 0, touched.output


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value
