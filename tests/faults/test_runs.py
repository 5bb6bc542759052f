"""Two runs at once, a deleted file, a clock that is put back: each run does what is needed and no more."""

import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from dfml.files.atomic import atomic_write
from faults.experiment import INVERT, META_LEARN, RECORD, TRAIN_ZOO
from support.comparable import digests
from support.faults import head, script_pids, wait_until

pytestmark = pytest.mark.e2e
DAY = 24 * 60 * 60
# Enough writes for a gap of microseconds between two of their steps to be met.
WRITERS, WRITES, SIZE = 4, 500, 20_000


def test_a_second_run_in_the_folder_is_refused_and_the_first_ends_right(experiment, undisturbed):
    experiment.forget(META_LEARN)
    goal = ("--cores", "1", "--", META_LEARN.target)
    with head(experiment, *goal) as first:
        job = first.when_saved(META_LEARN.rule, experiment.folder / META_LEARN.resume)
        os.kill(job, signal.SIGSTOP)  # until the second run is over, however long Snakemake takes to start
        second = experiment.snakemake(*goal)
        os.kill(job, signal.SIGCONT)
        assert second.status != 0
        assert "Directory cannot be locked" in second.output
        assert first.finish() == 0, first.output
    assert experiment.partial_files() == []
    assert digests(experiment.results) == undisturbed


def test_two_runs_that_no_lock_keeps_apart_write_the_same(experiment, undisturbed):
    """Snakemake looks for a lock before it takes it: two that start in the same moment may both get through."""
    experiment.forget(META_LEARN)
    goal = ("--nolock", "--cores", "1", "--", META_LEARN.target)
    with head(experiment, *goal) as one, head(experiment, *goal) as other:
        wait_until(lambda: len(script_pids(experiment.folder, META_LEARN.rule)) == 2, "both are at work")
        ended = {run.finish(): run.output for run in (one, other)}
        assert ended.keys() <= {0, 1} and 0 in ended, one.output + other.output
        # The job that began last goes on; the other may not write any more.
        assert "begun again by another process" in ended.get(1, "begun again by another process")
    assert experiment.partial_files() == []
    assert digests(experiment.results) == undisturbed


def test_a_deleted_file_is_made_again_when_it_is_needed_and_nothing_before_it(experiment, undisturbed):
    experiment.forget(META_LEARN)
    experiment.delete(f"{INVERT.outputs}/bank.npz", RECORD)
    run = experiment.snakemake("--cores", "1", "--", RECORD)
    assert run.status == 0, run.output
    assert run.jobs == {"invert": 1, "meta_learn": 1, "evaluate": 1}
    assert digests(experiment.results) == undisturbed


def test_a_deleted_file_that_nothing_waits_for_is_missed_by_verify_alone(experiment):
    """Snakemake looks for missing files only on the way to a missing or outdated target."""
    bank = f"{INVERT.outputs}/bank.npz"
    experiment.delete(bank)
    assert experiment.dry_run().nothing_to_do
    run = experiment.dfml("verify")
    assert run.status == 1
    assert "1 missing: ask Snakemake for it by its path" in run.output
    assert f"  {bank}\n" in run.output


def test_results_of_before_the_clock_was_put_back_are_used_once(experiment, undisturbed):
    tomorrow = time.time() + DAY
    for stage in (TRAIN_ZOO, INVERT):
        for path in (experiment.folder / stage.outputs).iterdir():
            os.utime(path, (tomorrow, tomorrow))
    experiment.forget(META_LEARN)
    experiment.delete(RECORD)
    run = experiment.snakemake("--cores", "1", "--", RECORD)
    assert run.status == 0, run.output
    assert run.jobs == {"meta_learn": 1, "evaluate": 1}
    assert digests(experiment.results) == undisturbed
    assert experiment.dry_run(RECORD).nothing_to_do


def write_often(path, letter):
    """Write a file of one letter again and again."""
    for _ in range(WRITES):
        atomic_write(path, letter * SIZE)


def test_writers_of_one_file_do_not_disturb_each_other_and_readers_see_whole_files(tmp_path):
    path = tmp_path / "a.bin"
    atomic_write(path, b"a" * SIZE)
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        writers = [pool.submit(write_often, path, bytes([letter])) for letter in b"abcd"]
        while not all(writer.done() for writer in writers):
            content = path.read_bytes()
            assert content == content[:1] * SIZE
        for writer in writers:
            writer.result()
    assert list(tmp_path.iterdir()) == [path]
