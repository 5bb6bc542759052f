"""What a record says of where it comes from, and the receipts of jobs."""

import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfml.artefacts.receipt import Receipt
from dfml.errors import FileFormatError
from dfml.jobs.job import run_job
from dfml.jobs.provenance import COMMAND, git_commit, plain_params, receipt_path
from support.configuration import UNTRACKED


def test_the_commit_is_named_only_where_the_package_is_tracked(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)
        git_commit.cache_clear()

    assert git_commit(package) is None
    git("init")
    assert git_commit(package) is None
    git("add", ".")
    assert git_commit(package) is None
    git("commit", "-m", "first")
    commit = git_commit(package)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    git("status")
    (tmp_path / "results.csv").touch()
    assert git_commit(package) == commit
    git("status")
    (package / "new.py").touch()
    assert git_commit(package) == f"{commit}-dirty"


@dataclass
class Cell:
    pool: str
    seed: int


def test_settings_become_plain_values():
    assert plain_params({"cell": Cell("single", 3), "ways": 5}) == {"cell": {"pool": "single", "seed": 3}, "ways": 5}


def evaluation(**facts):
    """What Snakemake gives the script of a job that makes ``out.json``."""
    common = {"rule": "evaluate", "log": ["logs/demo/evaluate/single/seed0.log"], "threads": 1, "wildcards": {}}
    common |= {"resources": SimpleNamespace(gpu=0), "config": UNTRACKED}
    return SimpleNamespace(**{**common, "input": [], "output": ["out.json"], "params": {}, **facts})


def test_a_job_leaves_a_receipt_of_what_it_was_given_and_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(COMMAND, "snakemake --cores 2")
    Path("in.npz").write_bytes(b"images")
    snakemake = evaluation(input=["in.npz"], params={"ways": 5})
    run_job(snakemake, lambda snakemake, job: Path("out.json").write_text("result"))
    path = Path("results/demo/receipts/evaluate/single/seed0.json")
    assert receipt_path(Path(snakemake.log[0]), "demo") == path
    receipt = Receipt.load(path)
    assert receipt.inputs == {"in.npz": hashlib.sha256(b"images").hexdigest()}
    assert receipt.outputs == {"out.json": hashlib.sha256(b"result").hexdigest()}
    assert (receipt.rule, receipt.command) == ("evaluate", "snakemake --cores 2")
    assert receipt.settings == {"ways": 5}
    assert receipt.host and receipt.versions["python"]

    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(FileFormatError, match=r"seed0\.json has dfml\.receipt version 99"):
        Receipt.load(path)


def test_a_job_that_fails_leaves_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snakemake = evaluation()

    def stage(snakemake, job):
        Path("out.json").write_text("half")
        raise OSError("broken")

    with pytest.raises(SystemExit):
        run_job(snakemake, stage)
    assert not [path for path in Path("results").rglob("*") if path.is_file()]
