"""`dfml watch`: jobs at work by their claims, logs and growing histories."""

import io
import os
import platform
import time
from pathlib import Path

import pytest
from rich.console import Console

from dfml.cli import watch as module
from dfml.cli.main import main
from dfml.cli.watch import curve
from dfml.jobs.claim import running_jobs
from dfml.methods.history import write_history

CELL = "single/free/1shot/seed0"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job at work and two rows of its history; its claim."""
    monkeypatch.chdir(tmp_path)
    claim = Path(f"results/demo/resume/meta_learn/{CELL}.claim")
    log = Path(f"logs/demo/meta_learn/{CELL}.log")
    for path in (claim, log):
        path.parent.mkdir(parents=True)
    claim.write_text(f"{platform.node()} {os.getpid()} {time.time_ns()}\n")
    log.write_text("2026-01-01 10:00:00,000 INFO free 2/4, ce 0.3, 5 s left\n")
    rows = [{"iteration": n, "seconds": 2.0 * n, "replay_accuracy": 30.0 + n} for n in (1, 2)]
    write_history(Path(f"results/demo/metalearning/{CELL}/history.csv"), rows)
    return claim


def test_without_a_terminal_a_line_says_how_each_job_stands_until_none_runs(job, monkeypatch, capsys):
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            job.unlink()

    monkeypatch.setattr(module.time, "sleep", nap)
    assert main(["watch", "demo", "--every", "7"]) == 0
    told = f"meta_learn {CELL}: free 2/4, 5 s left; iteration 2, replay accuracy 32"
    assert capsys.readouterr().out.splitlines() == [told, told, "nothing runs in results/demo"]
    assert naps == [7, 7]


def test_a_terminal_shows_a_curve_of_each_quantity(job):
    console = Console(file=io.StringIO(), width=100)
    console.print(module._picture(running_jobs("demo")))
    first, second = console.file.getvalue().splitlines()
    assert first == f"meta_learn {CELL}: free 2/4, 5 s left"
    assert second.split() == ["replay", "accuracy", "▁█", "32"]


def test_ctrl_c_ends_it_in_one_code(job, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupted)
    assert main(["watch", "demo"]) == 130


def test_an_unknown_experiment_is_named(job, capsys):
    assert main(["watch", "demi"]) == 1
    assert "there is no results/demi" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "text"),
    [([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0.0, 7.0, 3.5], "▁█▄"), ([float(n) for n in range(8)], "▁▂▃▄▅▆▇█")],
)
def test_curves(values, text):
    assert curve(values) == text


@pytest.mark.parametrize("count", [41, 100, 4001])
def test_long_curves_are_thinned_from_the_first_value_to_the_last(count):
    drawn = curve([float(n) for n in range(count)])
    assert len(drawn) == 40 and drawn[0] == "▁" and drawn[-1] == "█" and list(drawn) == sorted(drawn)
