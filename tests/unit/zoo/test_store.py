"""Zoos on the shelf: what is saved is loaded, and damage is told in one line."""

import json
import pickle
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS, NetworkSpec, ZooManifest
from dfml.errors import FileFormatError
from dfml.files.reading import sha256_file
from dfml.zoo.store import load_judges, load_weights, load_zoo, save_weights
from support.containers import Trap
from support.zoo import CPU, MEAN, SIDE, STD, same_bits, storages, write_random_zoo

SPEC = NetworkSpec(family="conv4", width=4, ways=3, side=SIDE)


@pytest.fixture
def zoo(tmp_path):
    return write_random_zoo(tmp_path / "zoo", models=3)


def edit(folder, **changes):
    """Change entries of the manifest, however wrong."""
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def edit_entry(folder, part, position, **changes):
    entries = json.loads((folder / MANIFEST).read_bytes())[part]
    entries[position].update(changes)
    edit(folder, **{part: entries})


def replace_weights(folder, content):
    """Put other bytes in place of the weights, with the manifest's digest made to fit."""
    (folder / WEIGHTS).write_bytes(content)
    edit(folder, weights_sha256=sha256_file(folder / WEIGHTS))


@pytest.mark.parametrize("family", ["conv4", "resnet10", "resnet18"])
def test_what_is_saved_is_loaded(tmp_path, family):
    folder = write_random_zoo(tmp_path, family=family, models=2)
    saved = load_file(folder / WEIGHTS)
    manifest, networks = load_zoo(folder, CPU)
    assert (manifest.side, manifest.mean, manifest.std) == (SIDE, MEAN, STD)
    images = torch.rand(4, 3, SIDE, SIDE)
    for index, network in enumerate(networks):
        assert all(same_bits(tensor, saved[name][index]) for name, tensor in network.state_dict().items())
        again = load_zoo(folder, CPU)[1][index]
        assert torch.equal(network(images), again(images))


def test_saving_is_repeatable_to_the_byte(tmp_path):
    first, again = write_random_zoo(tmp_path / "a"), write_random_zoo(tmp_path / "b")
    for name in (MANIFEST, WEIGHTS, JUDGES):
        assert (first / name).read_bytes() == (again / name).read_bytes()


def test_loaded_models_are_frozen_and_share_no_memory(zoo):
    networks = [*load_zoo(zoo, CPU)[1], *load_judges(zoo, CPU)[1]]
    held = [storages(network.state_dict().values()) for network in networks]
    assert len(set.union(*held)) == sum(map(len, held))
    for network in networks:
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.25, 0.5, 0.9, -1])
def test_truncated_weights(zoo, keep):
    whole = (zoo / WEIGHTS).read_bytes()
    cut = whole[: int(keep * len(whole)) if isinstance(keep, float) else keep]
    (zoo / WEIGHTS).write_bytes(cut)
    with pytest.raises(FileFormatError, match="digest differs from the manifest's"):
        load_zoo(zoo, CPU)
    replace_weights(zoo, cut)
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_zoo(zoo, CPU)


@pytest.mark.parametrize("name", [WEIGHTS, JUDGES, MANIFEST])
def test_a_missing_file_is_named(zoo, name):
    (zoo / name).unlink()
    with pytest.raises(FileFormatError, match=re.escape(name)):
        load_judges(zoo, CPU) if name == JUDGES else load_zoo(zoo, CPU)


def test_weights_of_another_zoo(zoo, tmp_path):
    other = write_random_zoo(tmp_path / "other", models=3, seed=1)
    (zoo / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(FileFormatError, match="damaged or foreign"):
        load_zoo(zoo, CPU)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: {"stranger": torch.zeros(3)}, "tensors .* do not fit a conv4 of width 4"),
        (lambda t: {n: v for n, v in t.items() if n != "head.bias"}, r"tensors \['head.bias'\] do not fit"),
        (lambda t: {**t, "extra": torch.zeros(3)}, r"tensors \['extra'\] do not fit"),
        (lambda t: {n: v[:2] for n, v in t.items()}, r"expected .* \(3, "),
        (lambda t: {**t, "head.bias": t["head.bias"].double()}, "'head.bias' is F64"),
        (lambda t: {**t, "head.bias": t["head.bias"][:, :2].contiguous()}, r"'head.bias' is .* \(3, 2\)"),
    ],
    ids=["foreign", "missing", "extra", "fewer models", "dtype", "shape"],
)
def test_foreign_tensors(zoo, spoil, message):
    save_file(spoil(load_file(zoo / WEIGHTS)), zoo / WEIGHTS)
    edit(zoo, weights_sha256=sha256_file(zoo / WEIGHTS))
    with pytest.raises(FileFormatError, match=message):
        load_zoo(zoo, CPU)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_is_never_unpickled(zoo, tmp_path, zipped):
    mark = tmp_path / "executed"
    if zipped:
        torch.save({"head.bias": Trap(mark)}, zoo / WEIGHTS)
        replace_weights(zoo, (zoo / WEIGHTS).read_bytes())
    else:
        replace_weights(zoo, pickle.dumps({"head.bias": Trap(mark)}))
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_zoo(zoo, CPU)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "version 3, this program reads version 2"),
        ({"version": None}, "version None"),
        ({"format": "dfml.images"}, "not a dfml.zoo file"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"models": []}, "models: List should have at least 1 item"),
        ({"std": [0.1, 0.0, 0.1]}, "std.1: Input should be greater than 0"),
        ({"mean": [0.1, float("nan"), 0.1]}, "NaN is no number"),
        ({"judges": []}, "judges and the digest of their weights must come together"),
        ({"judges_sha256": None}, "judges and the digest of their weights must come together"),
        ({"side": "16"}, "side: Input should be a valid integer"),
        ({"network": {"family": "vgg", "width": 4, "ways": 3, "side": 16}}, "network: Value error, family"),
        ({"mean": [0.5]}, "mean: List should have at least 3 items"),  # one colour channel
        ({"side": 2 * SIDE}, f"side {2 * SIDE} is not that of its network, {SIDE}"),
    ],
)
def test_a_wrong_manifest(zoo, changes, message):
    edit(zoo, **changes)
    with pytest.raises(FileFormatError, match=message) as caught:
        ZooManifest.load(zoo / MANIFEST)
    assert MANIFEST in str(caught.value)


@pytest.mark.parametrize("classes", [[0, 1, 8], [0, 1, -1], [0, 1, 1], [0, 1], [0, 1, 2, 3]])
def test_class_ids_that_cannot_be(zoo, classes):
    edit_entry(zoo, "models", 1, classes=classes)
    with pytest.raises(FileFormatError, match="model 1: its classes must be 3 distinct ids below 8"):
        ZooManifest.load(zoo / MANIFEST)


def test_models_out_of_order(zoo):
    edit_entry(zoo, "models", 0, index=1)
    with pytest.raises(FileFormatError, match="model 0 has index 1"):
        ZooManifest.load(zoo / MANIFEST)


@pytest.mark.parametrize("change", [{"index": 3}, {"index": 1}])
def test_a_judge_without_its_model(zoo, change):
    edit_entry(zoo, "judges", 0, **change)
    with pytest.raises(FileFormatError, match=r"judge . does not have the classes of a model"):
        ZooManifest.load(zoo / MANIFEST)


@pytest.mark.parametrize("keep", [0, 1, 0.5, -3])
def test_a_truncated_manifest(zoo, keep):
    whole = (zoo / MANIFEST).read_bytes()
    (zoo / MANIFEST).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(FileFormatError, match="not whole JSON"):
        ZooManifest.load(zoo / MANIFEST)


def test_a_failed_write_leaves_the_old_weights(zoo, monkeypatch):
    before = (zoo / WEIGHTS).read_bytes()

    def failing(tensors, path):
        path.write_bytes(b"half")
        raise RuntimeError

    monkeypatch.setattr("dfml.zoo.store.save_file", failing)
    with pytest.raises(RuntimeError):
        save_weights(zoo / WEIGHTS, [{"a": torch.zeros(1)}])
    assert (zoo / WEIGHTS).read_bytes() == before
    assert sorted(path.name for path in zoo.iterdir()) == sorted([JUDGES, MANIFEST, WEIGHTS])


def test_states_of_one_model_are_rows_of_the_file(zoo):
    stacked = load_file(zoo / WEIGHTS)
    for index, state in enumerate(load_weights(zoo / WEIGHTS, SPEC, 3)):
        assert all(torch.equal(tensor, stacked[name][index]) for name, tensor in state.items())
