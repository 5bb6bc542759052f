"""Best single: which model, and what becomes of its head."""

from dataclasses import replace

import pytest
import torch

from dfml.methods.features.learners import fit_best
from dfml.zoo.pool import Pool
from support.cells import context
from support.zoo import SIDE, WAYS, random_model


@pytest.fixture
def mixed():
    """The most accurate model is of another architecture than the learner's."""
    models = [
        random_model(seed=seed, family=family, dtype=torch.float32, selection_accuracy=accuracy)
        for seed, (family, accuracy) in enumerate([("conv4", 60.0), ("resnet10", 90.0), ("conv4", 80.0)])
    ]
    return Pool([replace(m, index=i) for i, m in enumerate(models)], [f"class {c}" for c in range(WAYS)])


@pytest.mark.parametrize("head", ["kept", "zero", "fresh"])
def test_the_best_of_the_learners_kind_is_taken(mixed, head):
    cell = context("best", pool=mixed, options={"head": head})
    ((state,),) = (snapshot.states for snapshot in fit_best(cell).snapshots)
    expected = {name: p.detach() for name, p in mixed[2].network.named_parameters()}
    if head == "zero":
        expected |= {name: torch.zeros_like(expected[name]) for name in ("head.weight", "head.bias")}
    if head == "fresh":
        expected |= {n: p.detach() for n, p in cell.new_learner(SIDE).named_parameters() if n.startswith("head.")}
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], values) for name, values in expected.items())
