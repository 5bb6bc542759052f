"""`dfml clean`: says what there is, removes what it is told, and leaves what is held."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfml.cli import clean
from dfml.cli.main import main

FILES = {
    "results/demo/results.csv": 3 << 20,
    "results/demo/resume/metalearning/single/free/1shot/seed0.pt": 2 << 20,
    "results/demo/resume/metalearning/single/free/1shot/seed0.heads.pt": 1 << 20,
    "results/demo/zoo/.zoo.json.x1.partial/zoo.json": 1 << 20,
    "results/old/results.csv": 1 << 20,
    "logs/old/evaluate/single.log": 1 << 20,
    ".snakemake/log/a.snakemake.log": 1 << 20,
    ".snakemake/metadata/needed": 10,
    "workflow/Snakefile": 1,
    "dvc.yaml": 1,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, size in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"\0" * size)
    return tmp_path


def left():
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


def claim(experiment, pid, node=None):
    path = Path(f"results/{experiment}/resume/meta_learn/single/free/1shot/seed0.claim")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{node or platform.node()} {pid} {time.time_ns()}\n")


def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_without_a_name_it_only_says_what_there_is(capsys):
    assert main(["clean"]) == 0
    said = capsys.readouterr().out
    assert left() == set(FILES)
    assert "3.0 MiB  --resume of demo" in said and "1.0 MiB  --partial of demo" in said
    assert "7.0 MiB  --experiment demo" in said and "2.0 MiB  --experiment old" in said
    assert "1.0 MiB  --caches" in said and "nothing was removed" in said


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["--resume"], "/resume/"),
        (["--partial"], ".partial/"),
        (["--caches"], ".snakemake/log/"),
        (["--experiment", "old"], "/old/"),
        (["--experiment", "demo"], "/demo/"),
        (["--resume", "--experiment", "demo"], "/demo/"),
    ],
)
def test_it_removes_what_it_is_told_and_nothing_else(words, gone):
    assert main(["clean", *words]) == 0
    assert left() == {name for name in FILES if gone not in name}


@pytest.mark.parametrize("name", ["oid", "..", "old/../demo", "/tmp", ""])
def test_an_unknown_experiment_is_refused_whole(name, capsys):
    assert main(["clean", "--experiment", "old", name]) == 1
    assert left() == set(FILES)
    assert "there are: demo, old" in capsys.readouterr().err


@pytest.mark.parametrize("node", [None, "another-machine"])
def test_a_running_job_keeps_its_experiment(node, capsys):
    claim("demo", os.getpid(), node)
    before = left()
    assert main(["clean", "--experiment", "demo"]) == 1
    assert "a job of demo runs, see logs/demo/meta_learn/single/free/1shot/seed0.log" in capsys.readouterr().err
    assert main(["clean", "--resume", "--partial"]) == 0
    assert left() == before
    assert "kept, a job of it runs" in capsys.readouterr().out


def test_what_a_killed_job_claimed_is_free():
    claim("demo", ended())
    assert main(["clean", "--experiment", "demo"]) == 0
    assert not Path("results/demo").exists()


def test_nothing_is_removed_while_a_run_goes_on(capsys):
    Path(".snakemake/locks").mkdir()
    Path(".snakemake/locks/0.input.lock").touch()
    assert main(["clean", "--caches"]) == 1
    assert "a run is going on" in capsys.readouterr().err
    assert Path(".snakemake/log/a.snakemake.log").exists()


def test_what_a_link_points_to_stays(tmp_path_factory):
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "results.csv").touch()
    Path("results/linked").symlink_to(place)
    assert main(["clean", "--experiment", "linked"]) == 0
    assert (place / "results.csv").exists() and not Path("results/linked").is_symlink()


def test_zoos_of_sweeps_are_no_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (".cache/zoos/abc", ".cache/matplotlib/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (caches,) = [found for found in clean.find() if found.kind == "caches"]
    assert Path(".cache/matplotlib") in caches.paths and not any("zoos" in path.parts for path in caches.paths)
    assert Path(".cache") not in caches.paths
