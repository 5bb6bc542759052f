"""Checkpoints as labs save them: what is taken as it is, and what is refused with the remedy."""

import argparse
import pickle

import pytest
import torch

from dfml.errors import DataError
from support.habits import IMAGES, at_home
from support.lab import classes, model, module, pool_of, taken, write_card, write_networks

PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net."]


def holding_itself():
    found = {}
    found["model"] = found
    return found


def prefixed(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize(
    "saved",
    [
        *[lambda state, prefix=prefix: prefixed(prefix, state) for prefix in PREFIXES],
        lambda state: {"state_dict": prefixed("model.", state) | {"criterion.scale": torch.tensor(2.0)}, "epoch": 3},
        lambda state: prefixed("module.", state) | {"n_averaged": torch.tensor(7)},
        lambda state: {"net": state, "acc": 93.5},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")},
        lambda state: state | {"total_ops": torch.zeros(1), "first.0.total_params": torch.zeros(1)},
    ],
)
@pytest.mark.parametrize("network", ["own", "parallel"])
def test_checkpoints_as_people_save_them(imported, saved, network):
    _, built = imported(network, saved=saved)
    (model,) = pool_of(imported.folder)
    torch.testing.assert_close(model.logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)


def test_of_several_sets_of_weights_the_card_names_one(imported):
    def saved(state):
        return {"state_dict": {key: torch.zeros_like(tensor) for key, tensor in state.items()}, "ema": state}

    with pytest.raises(DataError, match=r"model `odd`: .*several sets of weights, 'state_dict', 'ema'; name one by"):
        imported("own", saved=saved)
    _, built = imported("own", saved=saved, below="ema")
    torch.testing.assert_close(pool_of(imported.folder)[0].logits(IMAGES), at_home(built), rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match=r"nothing below 'emma'; it has 'state_dict', 'ema'"):
        imported("own", saved=saved, below="emma")


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (
            lambda state: prefixed("student.", state) | prefixed("teacher.", state),
            r"several networks, student\., teacher",
        ),
        (lambda state: {"scores": [1.0], "epoch": 3}, "no state dict of tensors; it has 'scores', 'epoch'"),
        (
            lambda state: {"state_dict": state, "args": argparse.Namespace(lr=1)},
            r"holds no plain weights: there is a argparse\.Namespace in it",
        ),
        (lambda state: {"best": state, "epoch": 3}, r"it has 'best', 'epoch'\. If 'best' is it, say `below: best`"),
        (
            lambda state: prefixed("net.", state) | {"scale.weight": torch.ones(5, 5)},
            r"beside net\., which fits its network, .*odd\.pt has scale\.weight; save",
        ),
        (lambda state: holding_itself(), "no state dict of tensors; it has 'model'"),
        (lambda state: prefixed("body.", {"x": torch.ones(1)}), r"unknown body\.x, missing"),
    ],
)
def test_checkpoints_that_are_not_understood(imported, saved, said):
    with pytest.raises(DataError, match=f"^model `odd`: .*{said}") as error:
        imported("own", saved=saved)
    assert len(str(error.value)) < 700
    assert "weights_only" not in str(error.value)


def test_of_a_file_of_another_kind_only_what_is_wrong_is_told(imported, tmp_path):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    (tmp_path / "own.pt").write_bytes(pickle.dumps({"a": torch.ones(2)}, protocol=4))
    with pytest.raises(DataError, match=r"model `own`: .*own\.pt holds no plain weights") as error:
        taken(write_card(tmp_path, [entry | {"weights": "own.pt"}]), tmp_path / "zoo")
    assert "weights_only" not in str(error.value) and "likely succeed" not in str(error.value)


def test_a_pointer_and_a_file_of_another_name(tmp_path):
    write_networks(tmp_path)
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    (tmp_path / "own.safetensors").rename(tmp_path / "own.bin")
    taken(write_card(tmp_path, [entry | {"weights": "own.bin"}]), tmp_path / "zoo")
    (tmp_path / "own.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match=r"model `own`: .*own\.pt is a pointer of Git LFS"):
        taken(write_card(tmp_path, [entry | {"weights": "own.pt"}]), tmp_path / "zoo")
