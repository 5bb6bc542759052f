"""The average of the models' weights (IF1)."""

import pytest
import torch

from dfml.methods.fusion.average import fit
from dfml.networks.build import build_network
from dfml.zoo.pool import Pool
from support.cells import context
from support.learners import SPEC, generator
from support.zoo import SIDE, WAYS, random_model


def pool_of(*seeds):
    models = [random_model(seed=seed, dtype=torch.float32) for seed in seeds]
    return Pool(models, [f"class {c}" for c in range(WAYS)])


def average(*seeds, head="averaged", seed=0):
    fitted = fit(context("average", pool=pool_of(*seeds), options={"head": head}, seed=seed))
    ((state,),) = (snapshot.states for snapshot in fitted.snapshots)
    return state, fitted


def network_of(state):
    network = build_network(SPEC, episodic=True)
    network.load_state_dict(state)
    return network


def test_the_average_of_copies_of_a_model_is_that_model():
    images = torch.rand(6, 3, SIDE, SIDE, generator=generator(0))
    state, fitted = average(5, 5, 5)
    own = dict(pool_of(5)[0].network.named_parameters())
    assert state.keys() == own.keys()
    for name, parameter in own.items():
        torch.testing.assert_close(state[name], parameter, rtol=1e-6, atol=0)
    expected = network_of(own)(images)
    torch.testing.assert_close(network_of(state)(images), expected, rtol=1e-4, atol=1e-5)
    assert fitted.specs == [SPEC] and fitted.finetune
    assert fitted.snapshots[0].iteration == 0


def test_the_average_does_not_depend_on_the_order():
    first, second = average(1, 2, 3)[0], average(3, 1, 2)[0]
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, rtol=0, atol=1e-7)


def test_the_average_is_the_mean_of_every_weight():
    state, _ = average(1, 2)
    models = [dict(model.network.named_parameters()) for model in pool_of(1, 2)]
    for name, values in state.items():
        torch.testing.assert_close(values, (models[0][name] + models[1][name]) / 2)


@pytest.mark.parametrize("head", ["zero", "fresh"])
def test_the_head_alone_may_be_replaced(head):
    averaged, (state, _) = average(1, 2)[0], average(1, 2, head=head)
    expected = {name: torch.zeros_like(averaged[name]) for name in ("head.weight", "head.bias")}
    if head == "fresh":
        fresh = context("average", pool=pool_of(1)).new_learner(SIDE)
        expected = {name: p.detach() for name, p in fresh.named_parameters() if name.startswith("head.")}
        assert not torch.equal(average(1, 2, head=head, seed=1)[0]["head.weight"], state["head.weight"])
    for name, values in state.items():
        assert torch.equal(values, expected.get(name, averaged[name]))


def test_the_models_are_not_changed():
    pool = pool_of(1, 2)
    before = [{n: t.clone() for n, t in model.network.state_dict().items()} for model in pool]
    fitted = fit(context("average", pool=pool, options={"head": "zero"}))
    for values in fitted.snapshots[0].states[0].values():
        values.add_(1)
    for model, expected in zip(pool, before, strict=True):
        assert all(torch.equal(t, expected[n]) for n, t in model.network.state_dict().items())
