"""DVC's stages make everything from nothing, one after the other, and then find nothing to do."""

import os
import re
import shutil
import subprocess
import sys
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


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Workflow:
    """A git repository with DVC and a tiny configuration that gives no more than it needs; nothing is made yet."""
    workflow = Workflow.tiny(tmp_path_factory.mktemp("dvc") / "repository", "demo", methods=METHODS)
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


def repro(workflow) -> list[str]:
    """Bring everything up to date; returns the stages that ran."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = workflow.module("dvc", "repro", PATH=path)
    assert run.status == 0, run.output
    return re.findall(r"Running stage '(\w+)'", run.output)


def test_from_nothing_to_the_end_and_then_nothing(repository):
    assert repro(repository) == STAGES
    assert (repository.folder / "docs/results/demo/main.md").is_file()
    assert {path.name for path in (repository.folder / "results/demo/images").iterdir()} == {"icons_colour", "emoji"}
    assert repository.snakemake("-n").nothing_to_do
    assert repro(repository) == []
    shown = repository.module("dvc", "plots", "show", "-o", "curves")
    assert shown.status == 0, shown.output
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
