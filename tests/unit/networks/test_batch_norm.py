"""Where a network's batch norms take their statistics from."""

import copy

import pytest
import torch
from torch.func import functional_call

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.networks.batch_norm import EpisodicBatchNorm2d, statistics_of_first, store_statistics
from dfml.networks.build import build_network
from support.zoo import random_network

FAMILIES = ("conv4", "resnet10", "resnet18")
SUPPORT, QUERIES = 6, 8


def spec(family):
    return NetworkSpec(family=family, width=4, ways=3, side=16)


def episodic(family, *, seed=0):
    return build_network(spec(family), generator=torch_generator(seed), episodic=True).double()


def images(count, *, seed=0):
    return torch.rand(count, 3, 16, 16, dtype=torch.float64, generator=torch_generator(seed, "images"))


def answers(network, support, queries, mode):
    """Logits of the queries with the batch norms' statistics as `mode` says."""
    with torch.no_grad():
        if mode == "support":
            with statistics_of_first(network, len(support)):
                return network(torch.cat([support, queries]))[len(support) :]
        return network(queries)


@pytest.mark.parametrize("family", FAMILIES)
def test_functional_form_equals_the_modules_own_training_forward(family):
    network = random_network(spec(family), 1).double().train()
    functional = build_network(spec(family), episodic=True).double()
    own = copy.deepcopy(network)(images(SUPPORT))
    logits = functional_call(functional, dict(network.named_parameters()), (images(SUPPORT),))
    assert torch.allclose(logits, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_mode_changes_nothing_in_an_episodic_network(family):
    network = episodic(family)
    assert not list(network.buffers())
    assert torch.equal(network.train()(images(4)), network.eval()(images(4)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["transductive", "support", "running"])
def test_permuting_the_queries_permutes_the_answers(family, mode):
    network = random_network(spec(family), 2).double() if mode == "running" else episodic(family)
    support, queries = images(SUPPORT), images(QUERIES, seed=1)
    order = torch.randperm(QUERIES, generator=torch_generator(3))
    logits = answers(network, support, queries, mode)
    assert torch.allclose(answers(network, support, queries[order], mode), logits[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("mode", "influenced"), [("transductive", True), ("support", False), ("running", False)])
def test_only_transduction_lets_one_query_influence_another(family, mode, influenced):
    network = random_network(spec(family), 2).double() if mode == "running" else episodic(family)
    support, queries = images(SUPPORT), images(QUERIES, seed=1)
    change = (answers(network, support, queries[:-1], mode) - answers(network, support, queries, mode)[:-1]).abs().max()
    assert change > 1e-4 if influenced else change < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
def test_reference_rows_are_answered_as_on_their_own(family):
    network = episodic(family)
    support, queries = images(SUPPORT), images(QUERIES, seed=1)
    with torch.no_grad(), statistics_of_first(network, SUPPORT):
        together = network(torch.cat([support, queries]))
    assert torch.allclose(together[:SUPPORT], network(support), rtol=0, atol=1e-10)


def test_reference_ends_with_the_block_also_on_an_error():
    network = episodic("conv4")
    before = network(images(QUERIES))
    with pytest.raises(ZeroDivisionError), statistics_of_first(network, 2):
        raise ZeroDivisionError
    assert torch.equal(network(images(QUERIES)), before)


def test_gradients_through_reference_statistics_are_refused_not_wrong():
    network = episodic("conv4")
    with statistics_of_first(network, 2), pytest.raises(RuntimeError, match="not differentiable"):
        network(images(4))


def test_training_forward_of_a_zoo_model_moves_its_stored_statistics():
    norm = EpisodicBatchNorm2d(3, episodic=False).double().train()
    x = images(4)
    norm(x)
    assert torch.allclose(norm.running_mean, 0.1 * x.mean((0, 2, 3)))


@pytest.mark.parametrize("family", FAMILIES)
def test_stored_statistics_of_a_reference_give_the_answers_beside_it(family):
    network = episodic(family)
    support, queries = images(SUPPORT), images(QUERIES, seed=1)
    frozen = build_network(spec(family)).double().eval().requires_grad_(False)
    frozen.load_state_dict(dict(network.named_parameters()), strict=False)
    store_statistics(frozen, support)
    expected = answers(network, support, queries, "support")
    torch.testing.assert_close(frozen(queries), expected)
    torch.testing.assert_close(torch.cat([frozen(query[None]) for query in queries]), expected)
