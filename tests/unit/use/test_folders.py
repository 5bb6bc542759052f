"""Folders of photos: a support set, and episodes that give what evaluation gives."""

import pytest
import torch

from dfml.data.images import ClassImages
from dfml.errors import DataError
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.evaluation.intervals import interval95
from dfml.evaluation.settings import EvaluationSettings
from dfml.metalearning.learner import BATCH_NORM_MODES, RULES
from dfml.use.folders import evaluate_folder, support_set
from support.use import photos, save_photos
from support.zoo import CPU

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]
SETTINGS = EvaluationSettings(queries=4, episodes=8, episode_seed=3)


@pytest.fixture
def folder(tmp_path):
    return save_photos(tmp_path / "photos", photos(6), NAMES)


def test_a_folder_is_a_support_set(folder, learner):
    paths, labels = support_set(folder)
    assert [path.parent.name for path in paths] == labels
    assert sorted(set(labels)) == NAMES
    classify = learner.adapt(paths, labels)
    same = learner.adapt(torch.cat(photos(6)), labels)
    assert classify.names == tuple(NAMES)
    assert torch.equal(classify.probabilities(paths), same.probabilities(torch.cat(photos(6))))


@pytest.mark.parametrize(("second", "above"), [(NAMES, ""), (["gnu", "hen"], ""), (NAMES, "all/")])
def test_parts_are_not_learned_together(tmp_path, second, above):
    for part, names in (("train", NAMES), ("test", second)):
        save_photos(tmp_path / "photos" / above / part, photos(len(names)), names)
    with pytest.raises(DataError, match=r"several parts \(train, test\); give a folder with one of them"):
        support_set(tmp_path / "photos")
    assert sorted(set(support_set(tmp_path / "photos" / above / "train")[1])) == NAMES


def test_what_several_lists_name_is_not_learned_together(tmp_path):
    folder = save_photos(tmp_path / "photos", [torch.cat(photos(2))], ["all"])
    names = sorted(photo.name for photo in (folder / "all").iterdir())
    lines = [f"{name},{NAMES[place % 2]}" for place, name in enumerate(names)]
    for part, own in (("train", lines[:6]), ("test", lines[6:])):
        (folder / f"{part}.csv").write_text("\n".join(["filename,label", *own]))
    with pytest.raises(DataError, match="several parts"):
        support_set(folder)


@pytest.mark.parametrize("ways", [5, 3])
def test_accuracies_are_those_of_evaluation(folder, learner, ways):
    found = evaluate_folder(learner, folder, ways=ways, shots=2, settings=SETTINGS)
    data = ClassImages("photos", "meta_test", tuple(NAMES), photos(6), "")
    tasks = EpisodeSet.draw(data, ways=ways, shots=2, settings=SETTINGS, count=8, device=CPU)
    expected = episode_accuracies(learner.learner.for_ways(ways), tasks)
    assert {(one.rule, one.batch_norm) for one in found} == {
        (rule, mode) for rule in RULES for mode in BATCH_NORM_MODES
    }
    for one in found:
        values = expected[one.rule, one.batch_norm]
        assert (one.accuracy, one.ci95) == (values.mean(), interval95(values))


@pytest.mark.parametrize(
    ("ways", "shots", "queries", "message"),
    [
        (7, 1, 4, "photos has 6 classes, too few for episodes of 7; ask for fewer ways"),
        (5, 9, 4, r"takes 9 support and 4 query photos of a class, but fewer are in ant \(12\), bee \(12\)"),
    ],
)
def test_too_few_photos_are_told(folder, learner, ways, shots, queries, message):
    settings = SETTINGS.model_copy(update={"queries": queries})
    with pytest.raises(DataError, match=message):
        evaluate_folder(learner, folder, ways=ways, shots=shots, settings=settings)


def test_folders_that_are_no_support_set_are_told(folder, tmp_path):
    (folder / "gnu").mkdir()
    with pytest.raises(
        DataError, match=r"there is no photo in gnu; put some in \(.*\.jpg, .*\), or remove the sub-folder"
    ):
        support_set(folder)
    save_photos(tmp_path / "one", photos(1), ["ant"])
    with pytest.raises(DataError, match="has one sub-folder, ant; a classifier needs at least two classes"):
        support_set(tmp_path / "one")
    with pytest.raises(DataError, match="has photos and no sub-folder of them"):
        support_set(tmp_path / "one" / "ant")
    with pytest.raises(DataError, match="gone is not a directory"):
        support_set(tmp_path / "gone")


def test_photos_that_cannot_be_read_are_named(folder, learner):
    for name in ("ant/00.png", "fox/03.png"):
        (folder / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"ant/00\.png: cannot be read .*fox/03\.png: cannot be read"):
        evaluate_folder(learner, folder, ways=5, shots=1, settings=SETTINGS)
