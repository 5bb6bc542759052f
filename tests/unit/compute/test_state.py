"""What moves is collected and put back where it was."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from dfml.compute.optimisers import SGD, Adam
from dfml.compute.state import collect, restore
from dfml.compute.timeline import Timeline, WallClock
from dfml.inversion.bank import ImageBank
from dfml.jobs.checkpoint import Checkpoint
from support.inversion import recovered
from support.zoo import CPU, SIDE, random_model


class Base:
    MOVES = ("weights", "count")

    def __init__(self, seed=0):
        draws = torch.Generator().manual_seed(seed)
        self.weights = {"a": torch.rand(2, 3, generator=draws).requires_grad_(), "b": torch.rand(4, generator=draws)}
        self.count = seed
        self.still = seed


class Thing(Base):
    MOVES = ("network", "generator", "rows", "pair")
    GROWS = ("ring", "losses")

    def __init__(self, seed=0):
        super().__init__(seed)
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.generator = torch.Generator().manual_seed(seed)
        self.pixels = torch.rand(3, 2)
        self.rows = list(self.pixels.unbind(0))
        self.pair = (torch.full((2,), float(seed)), "name")
        self.ring = torch.zeros(2, 1, dtype=torch.uint8)
        self.losses = []


def tensors(thing):
    return [*thing.weights.values(), *thing.network.state_dict().values(), *thing.rows, thing.pair[0]]


def through_a_file(state, tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.pt", "digest")
    checkpoint.save(state)
    return checkpoint.load()


def test_names_of_the_bases_come_first_and_nothing_else_is_collected():
    assert list(collect(Thing())) == ["weights", "count", "network", "generator", "rows", "pair", "ring", "losses"]


def test_everything_is_put_back_where_it_was(tmp_path):
    own, other = Thing(1), Thing(2)
    own.count, own.losses = 7, [torch.tensor(0.5), 0.25, None]
    state = through_a_file(collect(own), tmp_path)
    expected = torch.rand(3, generator=own.generator)
    places = [t.data_ptr() for t in tensors(other)]
    objects = other.weights, other.network, other.generator, other.rows, other.losses
    restore(other, state)
    assert [t.data_ptr() for t in tensors(other)] == places
    assert all(torch.equal(a, b) for a, b in zip(tensors(own), tensors(other), strict=True))
    now = other.weights, other.network, other.generator, other.rows, other.losses
    assert all(a is b for a, b in zip(objects, now, strict=True))
    assert torch.equal(other.pixels, own.pixels)  # through views of it
    assert torch.equal(torch.rand(3, generator=other.generator), expected)
    assert (other.count, other.still, other.losses) == (7, 2, [torch.tensor(0.5), 0.25, None])
    assert other.weights["a"].requires_grad and other.weights["a"].is_leaf


def test_what_grows_is_replaced_on_its_device_and_does_not_follow_the_state():
    own, other = Thing(), Thing()
    own.ring = torch.ones(2, 4, dtype=torch.uint8)
    state = collect(own)
    restore(other, state)
    assert torch.equal(other.ring, own.ring) and other.ring.dtype == torch.uint8
    own.ring.zero_()
    assert other.ring.sum() == 8
    held = other.ring
    restore(other, state)
    assert other.ring is held and other.ring.sum() == 0  # of the same shape: in place


def test_nested_things_and_frozen_ones():
    @dataclass(frozen=True)
    class Images:
        MOVES: ClassVar[tuple[str, ...]] = ("pixels",)
        pixels: torch.Tensor

    own, other = {"all": [Images(torch.ones(2))], "n": 1}, {"all": [Images(torch.zeros(2))], "n": 0}
    held = other["all"][0]
    restore(other, collect(own))
    assert other["n"] == 1 and other["all"][0] is held and torch.equal(held.pixels, torch.ones(2))


def broken(**changes):
    state = collect(Thing())
    return {name: value for name, value in (state | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (broken(count=...), r"state must have the parts \['count', .*; it has "),
        (broken(more=1), r"it has .*'more'"),
        (broken(weights={"a": torch.zeros(2, 3)}), r"state\.weights must have the parts \['a', 'b'\]; it has \['a'\]"),
        (broken(weights={"a": torch.zeros(3, 2), "b": torch.zeros(4)}), r"weights\['a'\] has the shape \[3, 2\], not"),
        (broken(rows=[torch.zeros(2)] * 2), r"state\.rows is not a list of 3 parts"),
        (
            broken(rows=[torch.zeros(2, dtype=torch.int64)] * 3),
            r"rows\[0\] is of torch.int64, not of torch.float32",
        ),
        (broken(rows=[torch.zeros(2), torch.zeros(2), 1.0]), r"rows\[2\] is a float, not a tensor"),
        (broken(count=torch.ones(())), r"state\.count is a Tensor, not a plain value"),
        (broken(ring=torch.zeros(2, 1)), r"state\.ring is of torch.float32, not of torch.uint8"),
        (broken(ring=torch.zeros(2, dtype=torch.uint8)), r"state\.ring has the shape \[2\], which \[2, 1\] cannot"),
        (broken(losses=1.0), r"state\.losses is a float, not a list"),
        (broken(generator=torch.zeros(3, dtype=torch.uint8)), r"state\.generator has the shape \[3\]"),
        ([], r"state must have the parts .*; it has list"),
    ],
)
def test_what_does_not_fit_is_named(state, message):
    with pytest.raises(ValueError, match=message):
        restore(Thing(), state)


def test_learning_rates_of_a_gpu_are_taken_up_on_a_cpu():
    """They are float32 there and float64 here (`Optimiser`)."""
    own = SGD([[torch.zeros(2)]], [0.5])
    state = collect(own)
    state["_rates"] = [torch.tensor(0.25)]
    restore(own, state)
    assert own.rates == [0.25] and own._rates[0].dtype == torch.float64


def test_what_says_nothing_is_refused():
    with pytest.raises(TypeError, match="object does not say what of it moves"):
        collect({"a": [object()]})
    with pytest.raises(TypeError, match="a float cannot be changed in place"):
        restore(1.0, 2.0)


@pytest.mark.parametrize("make", [lambda p: Adam([p], [0.1]), lambda p: SGD([p], [0.1], momentum=0.9)])
def test_an_optimiser_keeps_its_tensors(make):
    first, second = ([torch.ones(3, requires_grad=True)] for _ in range(2))
    own, other = make(first), make(second)
    first[0].grad = torch.ones(3)
    own.step()
    own.set_rate(0.5)
    places = [id(t) for value in collect(other).values() for t in _leaves(value)]
    assert len(set(places)) == len(places)
    held = {name: _leaves(getattr(other, name)) for name in collect(other)}
    restore(other, collect(own))
    assert other.rates == [0.5]
    for name, before in held.items():
        assert all(a is b for a, b in zip(before, _leaves(getattr(other, name)), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(before, _leaves(getattr(own, name)), strict=True))


def _leaves(value):
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


def test_a_bank_grows_to_what_it_was():
    own, other = (ImageBank(8, slots=4, images_per_class=2, side=SIDE, device=CPU) for _ in range(2))
    for _ in range(3):
        own.add(recovered(random_model(), torch.rand(6, 3, SIDE, SIDE)))
    restore(other, collect(own))
    assert other.pixels.shape == own.pixels.shape != (8, 1, 2, 3, SIDE, SIDE)
    assert all(torch.equal(a, b) for a, b in zip(own.everything(), other.everything(), strict=True))


def test_clocks_go_on(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    wall = WallClock()  # 0
    wall.mark()  # 10
    wall.mark()  # 20
    assert wall.settle() == [10.0, 20.0] and wall.total == 30.0
    later = WallClock()  # 40
    restore(later, collect(wall))
    later.mark()  # 50
    assert later.settle() == [40.0] and later.total == 50.0  # 60
    stages = Timeline(CPU, ("a", "b"))
    restore(stages, {"seconds": {"a": 3.0, "b": 4.0}})
    assert stages.total == 7.0
