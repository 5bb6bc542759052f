"""`history.csv` grows: whenever it is looked at, it holds the first rows of what it will be."""

import functools

import pytest

from dfml.errors import FileFormatError
from dfml.methods import history as module
from dfml.methods import stage
from dfml.methods.heads.settings import ProceduralHeadsSettings
from dfml.methods.history import GrowingHistory, read_history, write_history
from support.cells import HEADS, InterruptedJobError, InterruptedProgress, fit_cell, free_options, supervised_options

PROCEDURAL = ProceduralHeadsSettings(**HEADS).model_dump(mode="json")
OPTIONS = {"free": free_options(), "supervised_maml": supervised_options(), "procedural_heads": PROCEDURAL}


@pytest.fixture
def looks(monkeypatch):
    """The rows of the file after each writing, none of which is put off."""
    seen = []

    def write(path, rows):
        write_history(path, rows)
        seen.append(read_history(path))

    monkeypatch.setattr(module, "write_history", write)
    monkeypatch.setattr(stage, "GrowingHistory", functools.partial(GrowingHistory, every=0.0))
    return seen


def inputs(method, zoo, images):
    return {"images": [images]} if method.startswith("supervised") else {"zoos": [zoo]}


@pytest.mark.parametrize("method", OPTIONS)
def test_it_grows_to_what_it_ends_as(zoo, images, tmp_path, looks, method):
    folder = fit_cell(tmp_path / "learner", method, OPTIONS[method], **inputs(method, zoo, images))
    final = read_history(folder / "history.csv")
    assert len(looks) >= 3 and sorted(map(len, looks)) == [len(rows) for rows in looks]
    assert len(looks[0]) < len(final)
    for rows in looks:
        assert rows == final[: len(rows)]


@pytest.mark.parametrize("method", ["free", "supervised_maml"])
def test_after_an_interruption_it_goes_on_from_the_resume_point(zoo, images, tmp_path, looks, method):
    given = inputs(method, zoo, images)
    with pytest.raises(InterruptedJobError):
        fit_cell(tmp_path / "learner", method, OPTIONS[method], progress=InterruptedProgress(2), **given)
    left = read_history(tmp_path / "learner" / "history.csv")
    (tmp_path / "learner" / "history.csv").unlink()  # as Snakemake does with what a failed job leaves
    looks.clear()
    folder = fit_cell(tmp_path / "learner", method, OPTIONS[method], **given)
    assert looks[0] == left
    assert read_history(folder / "history.csv")[: len(left)] == left


def test_what_lies_before_a_learner_stays_in_front_of_it(tmp_path):
    path = tmp_path / "history.csv"
    own = GrowingHistory(path, [{"iteration": 0.0, "seconds": 2.0, "loss": 9.0}], 3.0, every=0.0)
    own.prepare([{"iteration": 1, "seconds": 1.0}])
    own.prepared([{"iteration": 1, "seconds": 1.0}, {"iteration": 2, "seconds": 4.0}])
    own.add([{"iteration": 1, "seconds": 0.5, "accuracy": 50.0}])
    assert path.read_text() == ("iteration,seconds,loss,accuracy\n0.0,2.0,9.0,\n0,4.0,,\n0,7.0,,\n1,7.5,,50.0\n")


@pytest.mark.parametrize("row", ["1,3.x", "1,2,3", "1,\x00"])
def test_a_damaged_file_is_told(tmp_path, row):
    path = tmp_path / "history.csv"
    path.write_text(f"iteration,seconds\n{row}\n")
    with pytest.raises(FileFormatError, match=r"history\.csv is no history of a learner"):
        read_history(path)


def test_writing_is_put_off_while_the_last_is_fresh(tmp_path):
    own = GrowingHistory(tmp_path / "history.csv", every=3600.0)
    for count in (1, 2, 3):
        own.add([{"iteration": n + 1, "seconds": float(n)} for n in range(count)])
    assert len(read_history(tmp_path / "history.csv")) == 1
