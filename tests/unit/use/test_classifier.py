"""An adapted classifier: alone or in a batch, saved, reloaded and exported, it answers the same."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import dfml
from dfml.errors import DataError, DfmlError, FileFormatError
from dfml.files.tensors import digest_tensors
from dfml.metalearning.learner import RULES
from dfml.use.classifier import KEY
from support.use import SPEC, photos, shelf_learner


@pytest.fixture(params=[*RULES, "several"])
def classify(request, tmp_path, learner, task):
    if request.param == "several":
        folder = shelf_learner(tmp_path / "several", SPEC, SPEC | {"width": 4}, finetune=False)
        return dfml.load(folder).adapt(*task[:2])
    return learner.adapt(*task[:2], rule=request.param)


@pytest.fixture
def saved(tmp_path, learner, task):
    path = tmp_path / "pets.safetensors"
    learner.adapt(task[0], [f"pet {label}" for label in task[1]]).save(path)
    return path


def test_one_image_is_answered_like_a_hundred(classify, task):
    queries = task[2]
    together = classify.probabilities(queries)
    torch.testing.assert_close(torch.cat([classify.probabilities(one) for one in queries]), together)
    many = classify(queries)
    assert [classify(one).name for one in queries] == [answer.name for answer in many]
    others = torch.cat([queries[:1], photos(5, seed=1)[0]])
    torch.testing.assert_close(classify.probabilities(others)[:1], together[:1])


def test_an_answer_has_names_and_probabilities(classify, task):
    (answer,) = classify(task[2][:1])
    assert answer == classify(task[2][0])
    assert list(answer.probabilities) == [0, 1, 2, 3, 4] == list(classify.names)
    assert answer.probability == max(answer.probabilities.values()) == answer.probabilities[answer.name]
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_more_images_than_are_answered_at_a_time(classify, task):
    queries = task[2].repeat(4, 1, 1, 1)
    found = classify.probabilities(queries)
    assert len(found) == len(queries) > 128
    torch.testing.assert_close(found[: len(task[2])], classify.probabilities(task[2]))


def test_images_of_other_sizes(classify):
    assert classify(torch.zeros(3, 50, 40, dtype=torch.uint8)).name in classify.names


def test_misuse_is_told(classify):
    with pytest.raises(DataError, match="there is no image"):
        classify([])
    with pytest.raises(DataError, match=r"nowhere\.png: there is no such file"):
        classify("nowhere.png")
    with pytest.raises(DataError, match=r"image 1: nowhere\.png: there is no such file"):
        classify([torch.zeros(3, 4, 4), "nowhere.png"])


def test_what_is_saved_comes_back_bit_for_bit(classify, task, tmp_path):
    path = tmp_path / "pets.safetensors"
    classify.save(path)
    again = dfml.load_classifier(str(path))
    assert torch.equal(again.probabilities(task[2]), classify.probabilities(task[2]))
    assert (again.names, again.manifest) == (classify.names, classify.manifest)
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before


def test_what_is_exported_answers_the_same(classify, task, tmp_path):
    queries = task[2].float() / 255
    program = classify.export(tmp_path / "pets.pt2")
    extra = {"classes.json": ""}
    loaded = torch.export.load(tmp_path / "pets.pt2", extra_files=extra)
    assert json.loads(extra["classes.json"]) == [0, 1, 2, 3, 4]
    for module in (program.module(), loaded.module()):
        for count in (1, 2, 7, len(queries)):
            torch.testing.assert_close(module(queries[:count]), classify.probabilities(task[2][:count]))


# In a process of its own, as users run it. Beside torch it is known to end one with a segmentation fault now and then
# (https://github.com/microsoft/onnxscript/issues/590).
ONNX = """
import sys
import numpy as np, onnxruntime
assert "torch" not in sys.modules
session = onnxruntime.InferenceSession("pets.onnx", providers=["CPUExecutionProvider"])
print(session.get_modelmeta().custom_metadata_map["classes"])
queries = np.load("queries.npy")
counts = (1, 2, 7, len(queries))
np.savez("answers.npz", **{str(n): session.run(["probabilities"], {"images": queries[:n]})[0] for n in counts})
"""


def test_onnx_answers_the_same_without_torch(classify, task, tmp_path):
    classify.export_onnx(tmp_path / "pets.onnx")
    np.save(tmp_path / "queries.npy", (task[2].float() / 255).numpy())
    command = [sys.executable, "-c", ONNX]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 1, 2, 3, 4]
    with np.load(tmp_path / "answers.npz") as answers:
        assert set(answers) == {"1", "2", "7", str(len(task[2]))}
        for count, own in answers.items():
            wanted = classify.probabilities(task[2][: int(count)])
            torch.testing.assert_close(torch.from_numpy(own), wanted, rtol=1e-4, atol=1e-5)


def test_onnx_without_its_packages_is_told(classify, tmp_path, monkeypatch):
    monkeypatch.setattr("dfml.use.classifier.find_spec", lambda name: None)
    with pytest.raises(DfmlError, match=r"written by onnx and onnxscript, not here: pip install 'dfml\[onnx\]'"):
        classify.export_onnx(tmp_path / "pets.onnx")


def test_the_file_says_what_it_is(saved, learner):
    with safe_open(saved, framework="pt") as stored:
        told = json.loads(stored.metadata()[KEY])
    assert (told["format"], told["version"]) == ("dfml.classifier", 1)
    assert told["names"] == [f"pet {label}" for label in range(5)]
    assert told["images"] == [3] * 5
    assert told["learner"]["weights_sha256"] == learner.manifest.weights_sha256
    assert told["learner"]["iteration"] == 5


@pytest.mark.parametrize(
    ("name", "method"), [("pets.pt", "save"), ("pets", "save"), ("pets.onnx", "export"), ("pets.pt2", "export_onnx")]
)
def test_other_endings_are_refused(learner, task, tmp_path, name, method):
    with pytest.raises(DfmlError, match=rf"{name}: the name of such a file ends in \."):
        getattr(learner.adapt(*task[:2]), method)(tmp_path / name)


@pytest.mark.parametrize(("name", "method"), [("pets.safetensors", "save"), ("pets.pt2", "export")])
def test_a_folder_is_not_written_over(learner, task, tmp_path, name, method):
    (tmp_path / name).mkdir()
    with pytest.raises(DfmlError, match=rf"{name} is a folder; give the name of a file"):
        getattr(learner.adapt(*task[:2]), method)(tmp_path / name)


def rewrite(path, change=lambda told: None, tensors=lambda own: None, *, mend=True):
    """Change what the metadata says and the tensors; the digest fits them unless it shall not."""
    own = load_file(path)
    with safe_open(path, framework="pt") as stored:
        told = json.loads(stored.metadata()[KEY])
    tensors(own)
    if mend:
        told["tensors_sha256"] = digest_tensors(own)
    change(told)
    save_file(own, path, {KEY: json.dumps(told)})


HUGE = {"family": "resnet18", "width": 4096, "ways": 5, "side": 16, "stem_relu": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has dfml.classifier version 2, this program reads version 1; run dfml adapt again"),
        ({"format": "dfml.zoo"}, "is not a dfml.classifier file"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"names": ["a"] * 5}, "a class is named twice"),
        ({"names": ["a"]}, "names: List should have at least 2"),
        ({"names": ["\x1b", *"abcd"]}, "names.0"),
        ({"names": [*"abcdef"]}, "images has 5 numbers for 6 classes"),
        ({"names": [*"abcdef"], "images": [1] * 6}, "with a head for its 6 classes"),
        ({"rule": "guess"}, "rule: Input should be"),
        ({"rule": "centroid_cosine"}, "tensors .* do not fit its metadata"),
        ({"side": 10**9}, "side: Input should be less"),
        ({"encoders": []}, "encoders: List should have at least 1"),
        ({"encoders": [HUGE]}, "do not fit its metadata"),
        ({"encoders": [HUGE | {"family": "conv4"}]}, "expected F32 .* for its metadata; adapt the learner again"),
        ({"tensors_sha256": "0" * 64}, "the digest of its tensors differs from that of its metadata"),
    ],
)
def test_metadata_that_is_wrong_is_told(saved, change, message):
    rewrite(saved, lambda told: told.update(change))
    with pytest.raises(FileFormatError, match=f"pets.safetensors.*{message}"):
        dfml.load_classifier(saved)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda own: own.pop("mean"), r"tensors \['mean'\] do not fit"),
        (lambda own: own.update(more=torch.zeros(1)), r"tensors \['more'\] do not fit"),
        (lambda own: own.update(std=torch.ones(4)), "'std' is F32"),
        (lambda own: own["mean"].fill_(float("inf")), "not finite"),
    ],
)
def test_tensors_that_are_wrong_are_told(saved, tensors, message):
    rewrite(saved, tensors=tensors)
    with pytest.raises(FileFormatError, match=message):
        dfml.load_classifier(saved)


def test_changed_tensors_are_noticed(saved):
    rewrite(saved, tensors=lambda own: own["mean"].add_(0.1), mend=False)
    with pytest.raises(FileFormatError, match="the digest of its tensors differs"):
        dfml.load_classifier(saved)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else", b"\x00" * 64])
def test_a_foreign_or_truncated_file_is_told(saved, content):
    whole = saved.read_bytes()
    for damaged in (content, whole[:-1], whole[:100]):
        saved.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"pets\.safetensors: not a readable safetensors file"):
            dfml.load_classifier(saved)


def test_a_place_without_a_classifier_is_told(tmp_path):
    with pytest.raises(FileFormatError, match="is a folder; a learner's is read by load"):
        dfml.load_classifier(tmp_path)
    with pytest.raises(FileFormatError, match="there is no such file"):
        dfml.load_classifier(tmp_path / "pets.safetensors")
    with pytest.raises(DfmlError, match="a path is wanted, not NoneType"):
        dfml.load_classifier(None)


def test_other_kinds_of_files_are_told(tmp_path, saved):
    with pytest.raises(FileFormatError, match="there is no such file"):
        dfml.load_classifier(tmp_path / "gone.safetensors")
    shelf_learner(tmp_path / "own")
    with pytest.raises(FileFormatError, match="another kind of file, with nothing under 'dfml' in its metadata"):
        dfml.load_classifier(tmp_path / "own" / "learner.safetensors")
    for text in ("{", "[" * 100, "1" * (1 << 24) + "1"):
        save_file({"mean": torch.zeros(3)}, tmp_path / "odd.safetensors", {KEY: text})
        with pytest.raises(FileFormatError, match="its metadata is not whole JSON"):
            dfml.load_classifier(tmp_path / "odd.safetensors")
    save_file({"mean": torch.zeros(3)}, tmp_path / "odd.safetensors", {KEY: "[]"})
    with pytest.raises(FileFormatError, match=r"is not a dfml\.classifier file"):
        dfml.load_classifier(tmp_path / "odd.safetensors")
