"""Of two processes that do one job, the one that began last may write."""

import os
import platform
import time
from pathlib import Path

import psutil
import pytest

from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write
from dfml.jobs.claim import claim_path, claimed, running_jobs


@pytest.fixture
def claim(tmp_path):
    return tmp_path / "resume" / "job.claim"


def test_a_job_begun_again_stops_the_first_before_it_writes(tmp_path, claim):
    result = tmp_path / "result"
    with pytest.raises(DfmlError, match="begun again by another process"), claimed(claim):
        atomic_write(result, b"first")
        claim.write_bytes(b"elsewhere 7 1")
        atomic_write(result, b"too late")
    assert result.read_bytes() == b"first"
    assert claim.read_bytes() == b"elsewhere 7 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result", "resume"]


def test_also_after_the_second_has_ended(tmp_path, claim):
    with pytest.raises(DfmlError, match="begun again"), claimed(claim):
        claim.unlink()
        atomic_write(tmp_path / "result", b"too late")
    assert not (tmp_path / "result").exists()


def test_nothing_is_left_and_later_writes_are_free(tmp_path, claim):
    with claimed(claim):
        atomic_write(tmp_path / "result", b"one")
        assert claim.exists()
    assert not claim.exists()
    atomic_write(tmp_path / "result", b"two")
    assert (tmp_path / "result").read_bytes() == b"two"


def test_every_job_has_its_own():
    log = Path("logs/demo/train_zoo/icons/conv4/seed0.log")
    assert claim_path(log, "demo") == Path("results/demo/resume/train_zoo/icons/conv4/seed0.claim")


@pytest.mark.parametrize(("hours", "runs"), [(0.1, True), (23, True), (25, False)])
def test_a_job_on_another_machine_counts_for_a_day_after_its_last_write(tmp_path, monkeypatch, hours, runs):
    monkeypatch.chdir(tmp_path)
    path = claim_path(Path("logs/demo/meta_learn/a.log"), "demo")
    path.parent.mkdir(parents=True)
    path.write_text(f"elsewhere 7 {10**18}\n")
    moment = time.time() - 3600 * hours
    os.utime(path, (moment, moment))
    assert len(running_jobs("demo")) == runs


def test_each_write_says_that_the_job_is_at_work(tmp_path, claim):
    with claimed(claim):
        os.utime(claim, (1e9, 1e9))
        atomic_write(tmp_path / "result", b"one")
        assert time.time() - claim.stat().st_mtime < 3600


@pytest.mark.parametrize(("after", "runs"), [(5, True), (-3600, False)])
def test_a_number_that_another_process_has_since_is_no_running_job(tmp_path, monkeypatch, after, runs):
    monkeypatch.chdir(tmp_path)
    path = claim_path(Path("logs/demo/meta_learn/a.log"), "demo")
    path.parent.mkdir(parents=True)
    begun = psutil.Process().create_time() + after
    path.write_text(f"{platform.node()} {os.getpid()} {int(begun * 1e9)}\n")
    assert [job.log for job in running_jobs("demo")] == [Path("logs/demo/meta_learn/a.log")] * runs
    path.write_text(f"{platform.node()} {2**22 + 1} {int(begun * 1e9)}\n")  # beyond the largest number
    assert running_jobs("demo") == []
