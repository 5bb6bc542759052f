"""Versions: a run is recorded, sent away, brought back in a fresh clone, and trusted as far as it goes."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.lab import write_lab
from support.repository import ROOT
from support.workflow import Workflow

pytestmark = pytest.mark.e2e

TRACKED = (".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "environment.yml", "README.md", "results/README.md")
BUCKET, PORT = "versions", 5639


class Repository(Workflow):
    """A workflow in a git repository with DVC."""

    def call(self, *command, **variables):
        """Run a command of the environment in the repository; returns the finished process."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "src")} | keys | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *command):
        """Run a command that must succeed; returns what it printed."""
        run = self.call(*command)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def dfml(self, *arguments):
        """Run `dfml`."""
        return self.call(sys.executable, "-m", "dfml.cli.main", *arguments)

    def dvc(self, *arguments):
        """Run DVC; it must succeed."""
        return self.done(sys.executable, "-m", "dvc", *arguments)

    def git(self, *arguments):
        """Run git; it must succeed."""
        return self.done("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments)

    def clone(self, folder) -> "Repository":
        """A fresh clone, without results, cache and Snakemake's records."""
        self.git("clone", "-q", ".", str(folder))
        return Repository(folder)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Repository:
    """A finished experiment on a trained and an imported zoo, recorded and sent to a folder; not to be changed."""
    base = tmp_path_factory.mktemp("versions")
    repository = Repository(Workflow.copied_to(base / "first").folder)
    folder = repository.folder
    (folder / "resources").unlink()
    shutil.copytree(ROOT / "resources", folder / "resources")
    shutil.copytree(ROOT / "docs/results", folder / "docs/results")
    for name in TRACKED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "config/smoke.yaml", folder / "config/config.yaml")
    write_lab(folder / "lab")
    repository.configure(
        experiment="demo",
        seeds=[0],
        shots=[1],
        methods=["random", "free"],
        zoos={"lab": {"card": "lab/card.yaml"}},
        pools={
            "multi_architecture": {"methods": []},
            "lab": {"datasets": [], "zoos": ["lab"], "evaluate": ["icons_colour"], "methods": ["free"]},
        },
    )
    repository.git("init", "-q")
    repository.git("add", "-A")
    repository.git("commit", "-qm", "first")
    repository.done("snakemake", "--cores", "2", "--quiet", "all")
    # A path relative to .dvc, so that it also holds in clones beside.
    repository.dvc("remote", "add", "--default", "store", "../../store")
    kept = repository.dfml("snapshot", "--push")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    repository.git("add", "-A")
    repository.git("commit", "-qm", "results")
    return repository


def test_what_is_in_git_and_what_is_not(recorded):
    tracked = set(recorded.git("ls-files").splitlines())
    assert "dvc.lock" in tracked
    assert {f"docs/results/demo/{name}" for name in ("main.md", "results.csv", "metrics.json")} <= tracked
    assert not [name for name in tracked if name.startswith("results/") and name != "results/README.md"]
    assert "single" in recorded.dvc("metrics", "show")
    assert recorded.snakemake("-n").nothing_to_do


def test_a_fresh_clone_gets_everything_back_and_nothing_runs(recorded, tmp_path):
    clone = recorded.clone(recorded.folder.parent / "clone")
    assert clone.dry_run("--quiet", "rules").jobs.total() > 5  # without the results everything would run
    run = clone.dfml("restore")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Everything on the shelf is what its jobs left" in run.stdout
    assert clone.snakemake("-n").nothing_to_do
    assert "Running stage" not in clone.dvc("repro")
    for path in sorted((recorded.folder / "results/demo").rglob("*")):
        if path.is_file() and "resume" not in path.parts:
            twin = clone.folder / path.relative_to(recorded.folder)
            assert twin.read_bytes() == path.read_bytes(), twin

    # A later change makes exactly what depends on it.
    clone.configure(evaluation={"episodes": 7})
    assert clone.dry_run("--quiet", "rules").jobs == {
        "evaluate": 3,
        "make_results": 1,
        "build_report": 1,
        "all": 1,
    }
    stale = clone.dfml("verify")
    assert stale.returncode == 1
    assert "record.json (rule evaluate would run again)" in stale.stdout
    refused = clone.dfml("snapshot")
    assert refused.returncode == 1 and "nothing was recorded" in refused.stderr
    clone.configure(evaluation={"episodes": 7}, zoo={"epochs": 3})
    jobs = clone.dry_run("--quiet", "rules").jobs
    assert jobs["train_zoo"] == 1 and jobs["prepare_images"] == jobs["import_zoo"] == 0


def test_a_clone_of_other_settings_or_code_is_refused_before_anything_is_fetched(recorded):
    clone = recorded.clone(recorded.folder.parent / "other")
    clone.configure(zoo={"epochs": 9})
    run = clone.dfml("restore")
    assert run.returncode == 1
    assert "results of other settings or other code" in run.stderr
    assert "config/config.yaml: zoo" in run.stderr
    assert not (clone.folder / "results/demo").exists()
    clone.git("checkout", "-q", "config")
    clone.append("src/dfml/use/labels.py", "OTHER = 1")
    run = clone.dfml("restore")
    assert run.returncode == 1 and "src/dfml (modified)" in run.stderr
    assert not (clone.folder / "results/demo").exists()


def test_one_flipped_bit_is_found_and_not_recorded(recorded):
    clone = recorded.clone(recorded.folder.parent / "damaged")
    assert clone.dfml("restore").returncode == 0
    (weights,) = clone.folder.glob("results/demo/metalearning/single/free/1shot/seed0/learner.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    run = clone.dfml("verify")
    assert run.returncode == 1
    assert f"{weights.relative_to(clone.folder)} (its content is not what its job left)" in run.stdout
    lock = (clone.folder / "dvc.lock").read_bytes()
    assert clone.dfml("snapshot").returncode == 1
    assert (clone.folder / "dvc.lock").read_bytes() == lock


def test_an_experiment_of_dvc(recorded):
    clone = recorded.clone(recorded.folder.parent / "experiment")
    assert clone.dfml("restore").returncode == 0
    before = json.loads(clone.dvc("metrics", "show", "--json"))
    clone.dvc("exp", "run", "-S", "config/config.yaml:evaluation.episodes=9", "-n", "fewer")
    assert "evaluation.episodes" in clone.dvc("params", "diff", "--targets", "config/config.yaml")
    assert clone.snakemake("-n").nothing_to_do
    after = json.loads(clone.dvc("metrics", "show", "--json"))
    assert before != after
    assert "metrics.json" in clone.dvc("metrics", "diff")
    assert "fewer" in clone.dvc("exp", "show", "--csv")


@contextmanager
def storage():
    """A local server that speaks S3, with one empty bucket."""
    address = f"http://127.0.0.1:{PORT}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/moto-api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=10)
        yield address
    finally:
        server.terminate()
        server.wait()


def test_a_remote_that_speaks_s3(recorded):
    clone = recorded.clone(recorded.folder.parent / "s3")
    with storage() as address:
        clone.dvc("remote", "add", "cloud", f"s3://{BUCKET}/dfml")
        clone.dvc("remote", "modify", "cloud", "endpointurl", address)
        clone.dvc("pull", "--quiet")
        clone.dvc("push", "--quiet", "--remote", "cloud")
        shutil.rmtree(clone.folder / ".dvc/cache")
        shutil.rmtree(clone.folder / "results/demo")
        run = clone.dfml("restore", "--remote", "cloud")
    assert run.returncode == 0, run.stdout + run.stderr
    assert clone.snakemake("-n").nothing_to_do
