"""DVC's stages make everything from nothing, one after the other, and then find nothing to do."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from support.repository import ROOT
from support.workflow import Workflow

pytestmark = pytest.mark.e2e

STAGES = ["zoo", "inversion", "metalearning", "results", "publish"]
TRACKED = (".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "README.md", "results/README.md")
# One that needs nothing, one with a bank, one with images of another data set than the pool's.
METHODS = ["random", "free", "unlabelled_heads"]


def new_repository(path: Path, methods: list[str]) -> Workflow:
    """A git repository with DVC and a tiny configuration that gives no more than it needs; nothing is made yet."""
    workflow = Workflow.tiny(path, "demo", methods=methods)
    folder = workflow.folder
    (folder / "resources").unlink()
    shutil.copytree(ROOT / "resources", folder / "resources")
    for name in TRACKED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    path = folder / "config/config.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    sections = {"free_official", "free_heads", "supervised_maml", "purer", "tgr", "best", "average", "custom_methods"}
    for key in sections:
        del content[key]
    content["evaluation"]["episodes"] = 5
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    lists = workflow.module("dfml.config.reference")
    assert lists.status == 0, lists.output
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return workflow


def dvc(workflow: Workflow, *arguments: str) -> str:
    """What DVC prints, with the environment's commands on PATH for what it starts."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = workflow.module("dvc", *arguments, PATH=path)
    assert run.status == 0, run.output
    return run.output


def repro(workflow: Workflow) -> list[str]:
    """Bring everything up to date; returns the stages that ran."""
    return re.findall(r"Running stage '(\w+)'", dvc(workflow, "repro"))


def test_from_nothing_to_the_end_and_then_nothing(tmp_path):
    repository = new_repository(tmp_path / "repository", METHODS)
    assert repro(repository) == STAGES
    assert (repository.folder / "docs/results/demo/main.md").is_file()
    assert {path.name for path in (repository.folder / "results/demo/images").iterdir()} == {"icons_colour", "emoji"}
    assert repository.snakemake("-n").nothing_to_do
    assert repro(repository) == []
    dvc(repository, "plots", "show", "-o", "curves")
    assert '"replay_accuracy"' in (repository.folder / "curves/index.html").read_text(encoding="utf-8")

    # What only the evaluation depends on leaves the stages before it alone.
    repository.configure(evaluation={"episodes": 6})
    assert repro(repository) == ["results", "publish"]
    assert repro(repository) == []

    # A key that the lists do not have yet.
    repository.configure(average={"head": "zero"}, methods=[*METHODS, "average"])
    assert repository.module("dfml.config.reference", "--check").status == 1
    assert repository.module("dfml.config.reference").status == 0
    assert repro(repository) == STAGES
    assert repository.snakemake("-n").nothing_to_do
    assert repro(repository) == []


def test_a_queued_experiment_runs_from_nothing_in_a_copy_of_what_git_tracks(tmp_path):
    repository = new_repository(tmp_path / "repository", ["random", "free"])
    dvc(repository, "exp", "run", "--queue", "--name", "three", "-S", "config/config.yaml:evaluation.episodes=3")
    dvc(repository, "queue", "start")
    deadline = time.monotonic() + 1500
    while re.search("Queued|Running", status := dvc(repository, "queue", "status")) and time.monotonic() < deadline:
        time.sleep(2)
    assert "Success" in status
    assert not (repository.folder / "results/demo/results.csv").exists()
    dvc(repository, "exp", "apply", "three")
    config = yaml.safe_load((repository.folder / "config/config.yaml").read_text(encoding="utf-8"))
    assert config["evaluation"]["episodes"] == 3
    with (repository.folder / "results/demo/results.csv").open(encoding="utf-8") as lines:
        assert {(row["method"], row["episodes"]) for row in csv.DictReader(lines)} == {("random", "3"), ("free", "3")}
