"""What every method shares: which iterates are kept, copies of weights, the fresh learner, the catalogue."""

import importlib
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfml.catalogue import BEGUN_WITH, METHODS, entry
from dfml.config.root import Config
from dfml.metalearning.settings import Start
from dfml.methods.base import cpu_state, snapshot_iterations
from dfml.methods.free.settings import FreeStart
from support.cells import context
from support.zoo import SIDE


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (100, 5, {20, 40, 60, 80, 100}),
        (7, 1, {7}),
        (7, 2, {4, 7}),
        (3, 3, {1, 2, 3}),
        (2, 5, {1, 2}),
        (1, 5, {1}),
    ],
)
def test_kept_iterates_are_evenly_spread_and_end_with_the_last(total, count, expected):
    assert snapshot_iterations(total, count) == expected


@given(st.integers(1, 500), st.integers(1, 40))
def test_as_many_iterates_are_kept_as_asked_for(total, count):
    kept = sorted(snapshot_iterations(total, count))
    assert len(kept) == min(total, count)
    assert kept[0] >= 1 and kept[-1] == total
    gaps = [b - a for a, b in zip([0, *kept], kept, strict=False)]
    assert max(gaps) - min(gaps) <= 2


def test_a_state_on_the_cpu_is_a_copy():
    weights = {"w": torch.ones(2, 3).T.requires_grad_()}
    state = cpu_state(weights)
    with torch.no_grad():
        weights["w"].zero_()
    assert torch.equal(state["w"], torch.ones(3, 2))
    assert state["w"].is_contiguous() and not state["w"].requires_grad


def test_the_fresh_learner_is_the_same_for_every_method_and_shot():
    states = [
        context(method, seed=seed, shots=shots).new_learner(SIDE).state_dict()
        for method, seed, shots in (("free", 3, 1), ("supervised_maml", 3, 5), ("free", 4, 1))
    ]
    assert all(torch.equal(states[0][name], t) for name, t in states[1].items())
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])
    assert not any("running" in name for name in states[0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_module_that_fits(method):
    module, function = METHODS[method].fit.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_real_images_are_read_by_the_supervised_references_or_of_another_domain():
    real = {name: row for name, row in METHODS.items() if row.reads_real_images}
    assert [name for name, row in real.items() if row.other_domain] == ["unlabelled_heads"]
    assert [name for name, row in real.items() if not row.other_domain] == [
        "supervised_maml",
        "supervised_anil",
        "supervised_protonet",
    ]
    # Nobody is given the zoo and the images that it was trained on.
    assert all(row.needs_zoo == row.other_domain for row in real.values())
    assert not any(row.other_domain for row in METHODS.values() if not row.reads_real_images)


def test_a_method_that_is_not_listed_is_given_the_zoos_alone():
    assert entry("free") is METHODS["free"]
    own = entry("mine")
    assert (own.fit, own.settings, own.label) == ("", "", "mine")
    assert own.needs_zoo and not (own.reads_real_images or own.inverts or own.needs_inversion({}))


def test_a_learner_is_begun_with_only_where_a_method_is_named():
    """`random` and `average` are methods as well, but as a start they are weights."""
    assert {start for start in get_args(FreeStart) if METHODS["free"].base({"start": start})} == BEGUN_WITH
    assert set(get_args(FreeStart)) == {*get_args(Start), *BEGUN_WITH}
    assert not any(METHODS[name].base({"start": start}) for name in METHODS for start in ("random", "average", None))
    config = Config()
    assert not any(METHODS[name].base(config.options(name)) for name in BEGUN_WITH), "one level of them"


def test_inversion_is_needed_by_option_or_always():
    assert METHODS["free"].needs_inversion({"generator": "inversion"})
    assert not METHODS["free"].needs_inversion({"generator": "fresh"})
    assert METHODS["bank_heads"].needs_inversion({})
    assert not METHODS["random"].needs_inversion({})


def test_what_is_forgotten_is_the_cells_own(tmp_path):
    own = [tmp_path / name for name in ("seed1.pt", "seed1.heads.pt", "seed1.asked4.pt")]
    others = [tmp_path / name for name in ("seed10.pt", "seed10.heads.pt", "seed1.txt", "xseed1.heads.pt")]
    for path in (*own, *others):
        path.touch()
    context("free", resume=tmp_path / "seed1.pt").forget()
    assert sorted(tmp_path.iterdir()) == sorted(others)
    context("free", resume=None).forget()
