"""Best single: which model, and what becomes of its head."""

from dataclasses import replace

import pytest
import torch

from dfml.methods.features.learners import fit_best
from dfml.zoo.pool import Pool
from support.cells import LEARNER, context
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


def test_a_learner_of_one_side_takes_the_best_model_of_that_side_and_is_for_it():
    models = [
        random_model(seed=seed, dtype=torch.float32, side=side, dataset=name, selection_accuracy=accuracy)
        for seed, (name, side, accuracy) in enumerate([("large", 32, 60.0), ("large", 32, 90.0), ("small", SIDE, 80.0)])
    ]
    pool = Pool([replace(m, index=i) for i, m in enumerate(models)], [f"class {c}" for c in range(WAYS)])
    for side, taken in ((None, 1), (32, 1), (SIDE, 2), (24, 1)):
        cell = context("best", pool=pool, learner=LEARNER.model_copy(update={"side": side}), options={"head": "zero"})
        fitted = fit_best(cell)
        ((spec,), ((state,),)) = fitted.specs, [snapshot.states for snapshot in fitted.snapshots]
        assert (spec.side, cell.models_like_the_learner()[0].index) == (side, taken)
        wanted = dict(pool[taken].network.named_parameters())
        assert all(torch.equal(values, wanted[name]) for name, values in state.items() if not name.startswith("head."))
        assert state["head.weight"].shape == cell.new_learner(side).head.weight.shape
