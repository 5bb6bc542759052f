"""Resume files."""

import errno
import logging
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch

from dfml.errors import DfmlError
from dfml.jobs.checkpoint import Checkpoint


def same(a, b):
    """Whether two states agree to the bit, types included."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def test_a_nested_state_comes_back_to_the_bit(tmp_path):
    generator = torch.Generator().manual_seed(3)
    rng = np.random.default_rng(3)
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {
        "iteration": 7,
        "loss": 0.1 + 0.2,
        "worst": [math.inf, math.nan, None, True],
        "name": "naïve",
        "bank": {0: torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8), 5: (torch.ones(()), -1)},
        "strange": torch.tensor([math.nan, -0.0, 1e-42]),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "rng": rng.bit_generator.state,
        "ordered": OrderedDict(a=1),
    }
    checkpoint = Checkpoint(tmp_path / "resume" / "state.pt", "abc")
    checkpoint.save(state)
    loaded = checkpoint.load()
    assert same(loaded, state)

    draws, numbers = torch.rand(5, generator=generator), rng.random(5)
    generator.manual_seed(0)
    generator.set_state(loaded["generator"])
    rng.bit_generator.state = loaded["rng"]
    assert torch.equal(torch.rand(5, generator=generator), draws)
    assert np.array_equal(rng.random(5), numbers)


def test_nothing_is_loaded_where_nothing_was_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.pt", "abc")
    assert checkpoint.load() is None
    checkpoint.save({"a": 1})
    checkpoint.remove()
    assert checkpoint.load() is None
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_no_path_keeps_nothing():
    checkpoint = Checkpoint(None, "abc")
    checkpoint.save({"a": 1})
    assert checkpoint.load() is None
    checkpoint.remove()


def test_another_digest_is_another_run(tmp_path, caplog):
    path = tmp_path / "state.pt"
    Checkpoint(path, "abc").save({"a": 1})
    assert Checkpoint(path, "abd").load() is None
    assert "belongs to another run" in caplog.text


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_a_warning(tmp_path, caplog, kept):
    path = tmp_path / "state.pt"
    checkpoint = Checkpoint(path, "abc")
    checkpoint.save({"a": torch.rand(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert checkpoint.load() is None
    assert [(record.levelno, str(path) in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


@pytest.mark.parametrize(
    ("failed", "raised", "said"),
    [
        (OSError(errno.EIO, "Input/output error"), DfmlError, r"state\.pt cannot be read \(Input/output error\)"),
        (MemoryError(), MemoryError, None),
    ],
)
def test_a_file_that_the_system_does_not_give_is_kept(tmp_path, monkeypatch, failed, raised, said):
    """It may be whole, and starting afresh would write over it."""
    checkpoint = Checkpoint(tmp_path / "state.pt", "abc")
    checkpoint.save({"a": torch.ones(3)})

    def fail(*_, **__):
        raise failed

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", fail)
        with pytest.raises(raised, match=said):
            checkpoint.load()
    assert torch.equal(checkpoint.load()["a"], torch.ones(3))


def test_foreign_content_is_a_warning(tmp_path, caplog):
    path = tmp_path / "state.pt"
    torch.save(torch.ones(3), path)
    assert Checkpoint(path, "abc").load() is None
    torch.save({"format": "other", "version": 1, "digest": "abc", "state": {}}, path)
    assert Checkpoint(path, "abc").load() is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("value", [np.ones(2), np.float64(1.0), {1, 2}, object()])
def test_what_could_not_be_loaded_is_refused_at_once(tmp_path, value):
    checkpoint = Checkpoint(tmp_path / "state.pt", "abc")
    checkpoint.save({"a": 1})
    with pytest.raises(TypeError, match=r"state\['bank'\]\[1\] is a "):
        checkpoint.save({"bank": [1, value]})
    assert checkpoint.load() == {"a": 1}
