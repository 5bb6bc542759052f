"""Networks that are read when they are asked: always the right ones, and never all of them in memory."""

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn

from dfml.artefacts.zoo import WEIGHTS
from dfml.errors import FileFormatError
from dfml.zoo.pool import Pool
from dfml.zoo.resident import OnDisk, Resident
from support.zoo import CPU, SIDE, same_bits, write_random_zoo

KEPT = 2


@pytest.fixture
def few(monkeypatch):
    """Pools keep two networks."""
    monkeypatch.setattr("dfml.zoo.union.Resident", partial(Resident, KEPT))


def counted(made, key):
    def make():
        made.append(key)
        return nn.Linear(1, 1)

    return make


def test_what_is_on_disk_is_made_when_it_is_taken_out():
    made = []
    squares = OnDisk(4, lambda index: made.append(index) or index**2)
    assert len(squares) == 4 and not made
    assert (squares[3], squares[-1], squares[1:3], list(squares)) == (9, 9, [1, 4], [0, 1, 4, 9])
    assert made == [3, 3, 1, 2, 0, 1, 2, 3]
    with pytest.raises(IndexError):
        squares[4]


def test_the_last_ones_are_kept_and_others_made_again():
    made = []
    resident = Resident(KEPT)
    sources = [resident.source(counted(made, key)) for key in range(4)]
    assert made == [0, 1]  # while there is room
    for key in (0, 2, 0, 3, 0, 2):
        sources[key]()
    assert made == [0, 1, 2, 3, 2]


def test_a_network_that_somebody_holds_stays_the_same():
    made = []
    resident = Resident(KEPT)
    sources = [resident.source(counted(made, key)) for key in range(4)]
    held = sources[0]()
    for source in sources[1:]:
        source()
    assert sources[0]() is held
    del held
    for source in sources[1:]:
        source()
    gc.collect()
    before = len(made)
    sources[0]()
    assert len(made) == before + 1


def test_threads_share_one_network():
    made = []
    source = Resident(0).source(counted(made, 0))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: source(), range(100)))
    assert len({id(network) for network in found}) == 1
    assert made == [0]


@pytest.mark.parametrize("access", ["weights", "gradients", "logits"])
def test_answers_do_not_depend_on_what_is_kept(tmp_path, few, monkeypatch, access):
    zoos = [write_random_zoo(tmp_path / name, dataset=name, models=3, seed=seed) for seed, name in enumerate("ab")]
    load = partial(Pool.load, zoos, label_space="global", device=CPU, access=access)
    small = load()
    monkeypatch.undo()
    whole = load()
    images = torch.rand(4, 3, SIDE, SIDE)
    for order in (range(6), reversed(range(6)), [0, 5, 0, 4, 1]):
        for index in order:
            assert same_bits(small[index].logits(images), whole[index].logits(images))
    assert len({id(model.network) for model in whole}) == 6


def test_weights_that_are_spoilt_while_they_are_in_use_are_told(tmp_path, few):
    zoo = write_random_zoo(tmp_path, models=4)
    pool = Pool.load([zoo], label_space="global", device=CPU)
    (zoo / WEIGHTS).write_bytes(b"")
    pool[1].logits(torch.rand(2, 3, SIDE, SIDE))  # it is kept
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        pool[3].logits(torch.rand(2, 3, SIDE, SIDE))
