"""Records and artefact summaries: what is read, and how a malformed file is refused."""

import json

import pytest

from dfml.artefacts.record import Record
from dfml.errors import DfmlError, FileFormatError
from dfml.results.reading import read_inversions, read_speeds, read_zoos
from support.manifests import inversion, record, result, speed, write, zoo
from support.results import write_record


def test_valid_record_is_read(tmp_path):
    read = Record.load(write_record(tmp_path, seed=2))
    assert (read.pool, read.method, read.seed, read.results[0].accuracy) == ("single", "free", 2, 40.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"results": []}, "results"),
        ({"results": [result(accuracy=140.0)]}, "results.0.accuracy"),
        ({"results": [result(ci95=-0.1)]}, "results.0.ci95"),
        ({"results": [result(accuracy="40")]}, "results.0.accuracy"),
        ({"results": [result(episodes=0)]}, "results.0.episodes"),
        ({"results": [result(), result(accuracy=41.0)]}, "more than once"),
        ({"seed": -1}, "seed"),
        ({"shots": 1.5}, "shots"),
        ({"method": None}, "method"),
        ({"git_commit": 7}, "git_commit"),
    ],
)
def test_malformed_record_is_one_error_that_names_file_and_key(tmp_path, changes, named):
    path = write_record(tmp_path, **({"seed": 0, "method": "free"} | changes))
    with pytest.raises(FileFormatError) as caught:
        Record.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert named in message
    assert "evaluate again" in message
    assert "\n" not in message


def test_missing_keys_are_all_named(tmp_path):
    content = record()
    del content["pool"], content["seed"]
    with pytest.raises(FileFormatError, match=r"pool: .*seed: "):
        Record.load(write(tmp_path, "record.json", content))


@pytest.mark.parametrize("token", ["NaN", "Infinity"])
def test_numbers_that_are_none_are_refused(tmp_path, token):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record()).replace("40.0", token))
    with pytest.raises(FileFormatError, match=f"{token} is no number"):
        Record.load(path)


def test_curve_with_one_point_twice_is_refused(tmp_path):
    point = {"iteration": 1, "seconds": 1.0, "accuracy": 30.0, "ci95": 1.0}
    point |= {"rule": "finetune", "batch_norm": "transductive"}
    with pytest.raises(FileFormatError, match="curve"):
        Record.load(write_record(tmp_path, curve=[point, point]))


def test_artefacts_come_sorted_and_repeats_are_refused(tmp_path):
    paths = [write(tmp_path, f"{seed}/zoo.json", zoo(seed=seed)) for seed in (2, 0, 1)]
    assert [item.seed for item in read_zoos(paths)] == [0, 1, 2]
    with pytest.raises(DfmlError, match="given twice"):
        read_zoos([paths[0], paths[0]])


def test_zoo_without_models_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"models: .*train_zoo"):
        read_zoos([write(tmp_path, "zoo.json", zoo(models=[]))])


def test_inversion_may_lack_what_could_not_be_measured(tmp_path):
    content = inversion(independent_accuracy=None, independent_reason="why", diversity=None)
    [read] = read_inversions([write(tmp_path, "inversion.json", content)])
    assert (read.independent_accuracy, read.independent_reason, read.diversity) == (None, "why", None)


def test_inversion_curve_holds_numbers_only(tmp_path):
    with pytest.raises(FileFormatError, match=r"ce_curve\.first\.1"):
        read_inversions([write(tmp_path, "inversion.json", inversion(ce_curve={"first": [1.0, None]}))])


def test_speeds_come_by_pool_and_each_once(tmp_path):
    own = write(tmp_path, "inversion/single/speed.json", speed())
    other = write(tmp_path, "elsewhere/speed.json", speed(pool="other"))
    assert [item.pool for item in read_speeds([own, other])] == ["other", "single"]
    with pytest.raises(DfmlError, match=r"speed comparison single"):
        read_speeds([own, write(tmp_path, "again/speed.json", speed())])
    with pytest.raises(FileFormatError, match="pool"):
        read_speeds([write(tmp_path, "none/speed.json", speed(pool=""))])


def test_speed_lists_must_be_parallel(tmp_path):
    content = speed()
    content["arms"][0]["teacher_ce"] = [0.1]
    with pytest.raises(FileFormatError, match="differ in length"):
        read_speeds([write(tmp_path, "speed.json", content)])
