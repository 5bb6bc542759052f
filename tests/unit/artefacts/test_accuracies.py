"""`accuracies.npz`: exact counts in few bytes, and only those that the record beside it was made of."""

import numpy as np
import pytest

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.artefacts.record import Record
from dfml.errors import FileFormatError
from support.manifests import result
from support.results import write_record

KEYS = [("toy", "finetune", "transductive"), ("toy", "finetune", "support")]


def kept(answers=75, episodes=600):
    draws = np.random.default_rng(0)
    return EpisodeAccuracies(answers, {key: draws.integers(0, answers + 1, episodes) for key in KEYS})


@pytest.mark.parametrize(("answers", "kind"), [(75, np.uint8), (255, np.uint8), (256, np.uint16), (2**16, np.uint32)])
def test_counts_are_kept_exactly_in_the_smallest_numbers_that_hold_them(tmp_path, answers, kind):
    made = kept(answers)
    made.save(tmp_path / ACCURACIES)
    read = EpisodeAccuracies.load(tmp_path / ACCURACIES)
    assert (read.answers, list(read.right)) == (answers, KEYS)
    for key in KEYS:
        assert read.right[key].dtype == kind
        assert (read.right[key] == made.right[key]).all()
        assert (read.percent(key) == 100 * (made.right[key] / answers)).all()


def test_six_hundred_episodes_take_kilobytes(tmp_path):
    kept().save(tmp_path / ACCURACIES)
    assert (tmp_path / ACCURACIES).stat().st_size < 4000


def test_equal_counts_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        kept().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_what_is_missing_says_what_to_run(tmp_path):
    with pytest.raises(FileFormatError, match="is missing; delete it and run the rule evaluate again"):
        EpisodeAccuracies.load(tmp_path / ACCURACIES)


class TestOfRecord:
    def test_are_those_of_the_record(self, tmp_path):
        path = write_record(tmp_path, right=[[400, 500]], results=[result(episodes=2)])
        found = EpisodeAccuracies.of_record(path, Record.load(path))
        (values,) = (found.percent(key) for key in found.right)
        assert values.tolist() == [40.0, 50.0]

    @pytest.mark.parametrize(
        "right",
        [
            {("icons_colour", "finetune", "transductive"): np.array([400, 501])},
            {("icons_colour", "finetune", "transductive"): np.array([500, 400])},
            {("icons_colour", "finetune", "transductive"): np.array([400, 500, 450])},
            {("icons_colour", "finetune", "support"): np.array([400, 500])},
            {("icons_colour", "finetune", mode): np.array([400, 500]) for mode in ("transductive", "support")},
        ],
    )
    def test_others_are_refused(self, tmp_path, right):
        path = write_record(tmp_path, right=[[400, 500]], results=[result(episodes=2)])
        EpisodeAccuracies(1000, right).save(path.with_name(ACCURACIES))
        with pytest.raises(FileFormatError, match=r"accuracies\.npz does not hold the accuracies of record\.json"):
            EpisodeAccuracies.of_record(path, Record.load(path))
