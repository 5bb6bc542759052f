"""Weights, and manifests that promise others."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.zoo import ZooManifest
from dfml.errors import FileFormatError
from dfml.files.reading import sha256_file
from dfml.metalearning.store import load_learner
from dfml.zoo.store import load_zoo
from support.containers import header_bytes
from support.specimens import edit_json, write_learner
from support.zoo import CPU, SIDE, write_random_zoo


def huge_spec(**changes):
    return {"family": "resnet18", "width": 4096, "ways": 3, "side": SIDE, "stem_relu": True, **changes}


@pytest.mark.parametrize("spec", [huge_spec(), huge_spec(family="conv4", side=1024)], ids=["resnet18", "conv4"])
def test_a_zoo_of_enormous_networks(tmp_path, spec):
    zoo = write_random_zoo(tmp_path, models=2, judges=0)
    edit_json(zoo / "zoo.json", network=spec, side=spec["side"])
    with pytest.raises(FileFormatError, match=r"expected F32|do not fit"):
        load_zoo(zoo, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 10**9}, "side: Input should be less than"),
        ({"dataset": "\x1b[31m"}, "dataset: .*cannot be printed"),
        ({"class_names": ["x" * 300] * 8}, "class_names.0: String should have at most 255"),
    ],
)
def test_a_zoo_of_absurd_facts(tmp_path, changes, message):
    zoo = write_random_zoo(tmp_path, models=2, judges=0)
    edit_json(zoo / "zoo.json", **changes)
    with pytest.raises(FileFormatError, match=message):
        ZooManifest.load(zoo / "zoo.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": 100.5}, r"models.1.accuracy: Input should be less than or equal to 100"),
        ({"accuracy": None}, r"models.1.accuracy: Input should be a valid number"),
        ({"selection_accuracy": 1.5}, r"models.1: .*neither that of the best epoch nor that of the last"),
        ({"selection_accuracy_last": 99.5}, r"models.1: .*selection_accuracy_last, 99.5, is above"),
        ({"images": {"train": 48, "selection": 6, "test": 0}}, r"models.1.images.test: .*greater than or equal to 1"),
        ({"images": {"train": 48, "selection": 6}}, r"models.1.images.test: Field required"),
        ({"accuracy_stored": 90.0}, r"models.1.accuracy_stored: Extra inputs are not permitted"),
    ],
)
def test_a_model_of_absurd_accuracies(tmp_path, changes, message):
    zoo = write_random_zoo(tmp_path, models=2, judges=0)
    entries = json.loads((zoo / "zoo.json").read_bytes())["models"]
    edit_json(zoo / "zoo.json", models=[entries[0], entries[1] | changes])
    with pytest.raises(FileFormatError, match=message):
        ZooManifest.load(zoo / "zoo.json")


def test_a_zoo_of_two_parts_only_is_of_another_version(tmp_path):
    zoo = write_random_zoo(tmp_path, models=2, judges=0)
    edit_json(zoo / "zoo.json", version=1)
    with pytest.raises(FileFormatError, match=r"version 1, this program reads version 2; run the rule train_zoo again"):
        ZooManifest.load(zoo / "zoo.json")


@pytest.fixture
def learner(tmp_path):
    write_learner(tmp_path, 0)
    return tmp_path


def test_a_learner_of_enormous_networks(learner):
    edit_json(learner / "learner.json", encoders=[huge_spec(stem_relu=True)])
    with pytest.raises(FileFormatError, match="do not fit its manifest"):
        load_learner(learner, steps=1, learning_rate=0.1, device=CPU)


def test_a_learner_of_very_many_networks(learner):
    edit_json(learner / "learner.json", snapshots=[{"iteration": 0, "seconds": 0.0}] * 20_000)
    with pytest.raises(FileFormatError, match="more than 10000 networks"):
        LearnerManifest.load(learner / "learner.json")


def spoil_weights(folder, change):
    """Change header and data of the weights; the manifest's digest is made to fit."""
    path = folder / "learner.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    length, data = change(header, data) or (None, data)
    raw = header_bytes(header)
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    edit_json(folder / "learner.json", weights_sha256=sha256_file(path))


def overlapping(header, data):
    first, second = list(header)[:2]
    header[second]["data_offsets"] = header[first]["data_offsets"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, data: (2**63, data), "not a readable"),
        (lambda header, data: (10**8, data), "not a readable"),
        (overlapping, "not a readable"),
        (lambda header, data: header["encoder0/head.bias"].update(shape=[2**40]), "not a readable"),
        (lambda header, data: (None, b"\x00\x00\xc0\x7f" + data[4:]), "not finite"),
        (lambda header, data: (None, data[:-4] + b"\x00\x00\x80\xff"), "not finite"),
    ],
    ids=["header of exabytes", "header of 100 MB", "overlap", "shape", "nan", "infinity"],
)
def test_spoilt_weights(learner, change, message):
    spoil_weights(learner, change)
    with pytest.raises(FileFormatError, match=message):
        load_learner(learner, steps=1, learning_rate=0.1, device=CPU)


def test_zoo_weights_that_are_not_finite(tmp_path):
    zoo = write_random_zoo(tmp_path, models=2, judges=0)
    weights = load_file(zoo / "zoo.safetensors")
    weights["head.bias"][1, 0] = torch.inf
    save_file(weights, zoo / "zoo.safetensors")
    edit_json(zoo / "zoo.json", weights_sha256=sha256_file(zoo / "zoo.safetensors"))
    with pytest.raises(FileFormatError, match=r"'head\.bias' holds numbers that are not finite"):
        load_zoo(zoo, CPU)
