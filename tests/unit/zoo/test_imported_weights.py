"""Weights as labs have them: what is read, and what is refused in one line."""

import pytest
import torch
from torch import nn

from dfml.errors import DataError
from support.lab import classes, model, module, pool_of, taken, write_card, write_networks


@pytest.mark.parametrize("file", ["weights.pt", "weights.pth", "nested.pt", "parallel.pt", "half.safetensors"])
def test_weights_as_labs_have_them(tmp_path, file):
    write_networks(tmp_path)
    state = module("own", 5).state_dict()
    entry = model(tmp_path, "own", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    changed = {
        "nested.pt": {"epoch": 3, "state_dict": state},
        "parallel.pt": {f"module.{key}": tensor for key, tensor in state.items()},
    }.get(file, state)
    if file.startswith("half"):
        half = module("own", 5).half()
        model(tmp_path, "half", half, "", classes=[])
    else:
        torch.save(changed, tmp_path / file)
    taken(write_card(tmp_path, [entry | {"weights": file}]), tmp_path / "zoo")
    found = pool_of(tmp_path / "zoo")[0].module.state_dict()
    torch.testing.assert_close(found["module.answer.weight"], state["answer.weight"], rtol=2e-3, atol=2e-3)
    assert found["module.answer.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (torch.int8, r"first\.0\.weight is quantised"),
        (torch.complex64, r"first\.0\.weight is complex.* and 3 more"),
    ],
)
def test_weights_of_another_kind(tmp_path, kind, said):
    write_networks(tmp_path)
    entry = model(tmp_path, "odd", module("own", 5), "nets.py:own", options={"outputs": 5}, classes=classes(5))
    state = {key: tensor.to(kind) for key, tensor in module("own", 5).state_dict().items()}
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(DataError, match=rf"odd\.pt does not fit its network: {said}"):
        taken(write_card(tmp_path, [entry | {"weights": "odd.pt"}]), tmp_path / "zoo")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            float("inf"),
            r"model `odd`: answer\.bias in .*odd\.safetensors hold numbers that are not finite.*persistent=False",
        ),
        (3.4e38, "model `odd`: its answers are not finite"),
    ],
)
def test_weights_that_are_not_finite(tmp_path, value, said):
    write_networks(tmp_path)
    network = module("own", 5)
    nn.init.constant_(network.answer.bias, value)
    nn.init.constant_(network.answer.weight, min(value, 1e38))
    entry = model(tmp_path, "odd", network, "nets.py:own", options={"outputs": 5}, classes=classes(5))
    with pytest.raises(DataError, match=said):
        taken(write_card(tmp_path, [entry]), tmp_path / "zoo")


def test_counters_that_went_through_half_with_all_the_rest(tmp_path):
    write_networks(tmp_path)
    own = module("own", 5)
    entry = model(tmp_path, "own", own, "nets.py:own", options={"outputs": 5}, classes=classes(5))
    torch.save({key: tensor.half() for key, tensor in own.state_dict().items()}, tmp_path / "half.pt")
    taken(write_card(tmp_path, [entry | {"weights": "half.pt"}]), tmp_path / "zoo")
    found = pool_of(tmp_path / "zoo")[0].module.state_dict()
    counters = [tensor for key, tensor in found.items() if key.endswith("num_batches_tracked")]
    assert counters and all(tensor.dtype == torch.int64 for tensor in counters)


def test_a_network_may_call_its_only_part_module(tmp_path):
    write_networks(tmp_path)
    with (tmp_path / "nets.py").open("a") as file:
        file.write(
            "\n\nclass Wrapper(nn.Module):\n    def __init__(self, outputs):\n        super().__init__()\n"
            "        self.module = Own(outputs)\n\n    def forward(self, images):\n        return self.module(images)\n"
        )
    own = module("own", 5)
    entry = model(tmp_path, "own", own, "nets.py:Wrapper", options={"outputs": 5}, classes=classes(5))
    torch.save({f"module.{key}": tensor for key, tensor in own.state_dict().items()}, tmp_path / "wrapped.pt")
    taken(write_card(tmp_path, [entry | {"weights": "wrapped.pt"}]), tmp_path / "zoo")
    found = pool_of(tmp_path / "zoo")[0].module.state_dict()
    assert any(key.endswith("module.answer.weight") for key in found)
