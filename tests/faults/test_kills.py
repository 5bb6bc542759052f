"""Jobs and Snakemake itself are killed or interrupted: the same command goes on, to the same bits."""

import os
import signal

import pytest

from dfml.cli.tools import Output
from dfml.cli.verify import ASIDE, examine
from faults.experiment import INVERT, META_LEARN, RECORD, REPORT, TABLE, TRAIN_ZOO
from support.comparable import digests
from support.faults import alive, head, script_pids, wait_until

pytestmark = pytest.mark.e2e


def continued(experiment, stage) -> bool:
    """Whether the last job of the stage says that it went on from its resume file, which is gone."""
    log = (experiment.folder / stage.log).read_text(encoding="utf-8")
    return f"continuing from {stage.resume}" in log and not (experiment.folder / stage.resume).exists()


def whole_files(experiment) -> dict[str, str]:
    """Digests of the results but for a file that a job was writing when it was hit, such as the history so far."""
    return {name: sha for name, sha in digests(experiment.results).items() if ".partial" not in name}


@pytest.mark.parametrize("stage", [TRAIN_ZOO, INVERT, META_LEARN], ids=lambda stage: stage.rule)
def test_a_killed_job_goes_on_where_it_was(experiment, undisturbed, stage):
    experiment.forget(stage)
    goal = ("--cores", "1", "--", stage.target)
    with head(experiment, *goal) as run:
        os.kill(run.when_saved(stage.rule, experiment.folder / stage.resume), signal.SIGKILL)
        assert run.finish() != 0
        assert f"{stage.rule}: it ended without a word in its log" in run.output
        assert f"log: {stage.log}" in run.output
    assert (experiment.folder / stage.resume).exists()
    assert whole_files(experiment) == {
        name: sha for name, sha in undisturbed.items() if not name.startswith(stage.place)
    }

    again = experiment.snakemake(*goal)
    assert again.status == 0, again.output
    assert continued(experiment, stage)
    assert experiment.partial_files() == []
    assert digests(experiment.results) == undisturbed


def test_after_ctrl_c_the_same_command_goes_on_to_the_last_table(experiment, undisturbed):
    experiment.forget(META_LEARN)
    experiment.delete(RECORD, TABLE, REPORT)
    with head(experiment, "--cores", "2") as run:
        job = run.when_saved(META_LEARN.rule, experiment.folder / META_LEARN.resume)
        run.press_ctrl_c()
        assert run.finish() != 0
        wait_until(lambda: not alive(job), "the interrupted job ends")
    assert (experiment.folder / META_LEARN.resume).exists()
    assert not (experiment.folder / META_LEARN.target).exists()

    again = experiment.snakemake("--cores", "2")  # without --unlock
    assert again.status == 0, again.output
    assert again.jobs == {"meta_learn": 1, "evaluate": 1, "make_results": 1, "build_report": 1, "all": 1}
    assert continued(experiment, META_LEARN)
    assert experiment.partial_files() == []
    assert digests(experiment.results) == undisturbed


def test_an_orphan_of_a_killed_head_and_its_successor_write_the_same(experiment, undisturbed, monkeypatch):
    experiment.forget(INVERT)
    goal, resume = ("--cores", "1", "--", INVERT.target), experiment.folder / INVERT.resume
    with head(experiment, *goal) as first:
        orphan = first.when_saved(INVERT.rule, resume)
        # Held, so that it is still at work when its successor is, however long Snakemake takes to start.
        os.kill(orphan, signal.SIGSTOP)
        first.kill()
        assert alive(orphan)

        refused = experiment.snakemake(*goal)
        assert refused.status != 0
        assert "--unlock" in refused.output
        unlocked = experiment.snakemake("--unlock")
        assert unlocked.status == 0, unlocked.output

        saved = resume.stat().st_mtime_ns
        with head(experiment, *goal) as second:
            wait_until(lambda: resume.stat().st_mtime_ns != saved, "the successor saves")
            assert len(script_pids(experiment.folder, INVERT.rule)) == 2
            os.kill(orphan, signal.SIGCONT)
            assert second.finish() == 0, second.output
        wait_until(lambda: not alive(orphan), "the orphan ends")
    assert experiment.partial_files() == []
    assert not resume.exists()
    assert digests(experiment.results) == undisturbed

    monkeypatch.chdir(experiment.folder)
    shelf = experiment.results.relative_to(experiment.folder)
    files = [path for path in shelf.rglob("*") if path.is_file() and path.relative_to(shelf).parts[0] not in ASIDE]
    findings = examine([Output(path.as_posix(), "", pending=False) for path in files], shelf)
    assert [finding for finding in findings if finding.kind == "damaged"] == []


def test_an_orphan_of_other_settings_does_not_overwrite_what_its_successor_made(experiment):
    experiment.forget(META_LEARN)
    goal = ("--cores", "1", "--", META_LEARN.target)
    with head(experiment, *goal) as first:
        orphan = first.when_saved(META_LEARN.rule, experiment.folder / META_LEARN.resume)
        os.kill(orphan, signal.SIGSTOP)
        first.kill()
        experiment.configure(free={"iterations": 3})
        assert experiment.snakemake("--unlock").status == 0
        again = experiment.snakemake(*goal)
        assert again.status == 0, again.output
        made = whole_files(experiment)
        os.kill(orphan, signal.SIGCONT)
        wait_until(lambda: not alive(orphan), "the orphan ends")
    assert digests(experiment.results) == made
