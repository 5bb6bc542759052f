"""Fusion by optimal transport: permuted networks are undone (IF2), plans have the right marginals (IF3)."""

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from dfml.artefacts.zoo import NetworkSpec
from dfml.methods.fusion.transport import align, fit, fuse, fused_layers, transport_plan
from dfml.networks.build import build_network
from dfml.zoo.pool import Pool
from support.cells import context
from support.learners import generator
from support.zoo import SIDE, WAYS, random_model, random_network

FAMILIES = ("conv4", "resnet10", "resnet18")


def spec(family):
    return NetworkSpec(family=family, width=4, ways=WAYS, side=SIDE)


def state_of(family, seed):
    return {name: t.double() for name, t in random_network(spec(family), seed).state_dict().items()}


def permuted(family, state, seed):
    """The same function with the hidden neurons in another order, written without the code under test."""
    draws, orders, moved = generator(seed), {}, dict(state)
    for layer in fused_layers(spec(family)):
        weight = moved[f"{layer.name}.weight"]
        if layer.reads in orders:
            order = orders[layer.reads]
            if weight.ndim == 2:
                weight = weight.view(len(weight), len(order), -1)[:, order].flatten(1)
            else:
                weight = weight[:, order]
        if layer.writes is not None:
            order = orders.setdefault(layer.writes, torch.randperm(len(weight), generator=draws))
            weight = weight[order]
            for name in state:
                if (name.startswith(f"{layer.norm}.") and state[name].ndim == 1) or name == f"{layer.name}.bias":
                    moved[name] = state[name][order]
        moved[f"{layer.name}.weight"] = weight
    return moved


def answers(family, state, images):
    network = build_network(spec(family)).double()
    network.load_state_dict(state)
    with torch.no_grad():
        return network.eval()(images)


@pytest.fixture
def images():
    return torch.rand(6, 3, SIDE, SIDE, dtype=torch.float64, generator=generator(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_named_once_and_reads_what_was_written(family):
    layers = list(fused_layers(spec(family)))
    weights = {f"{layer.name}.weight" for layer in layers}
    expected = {name for name, t in state_of(family, 0).items() if name.endswith("weight") and t.ndim > 1}
    assert weights == expected and len(layers) == len(weights)
    norms = {layer.norm for layer in layers} - {None}
    assert norms == {name.removesuffix(".running_var") for name in state_of(family, 0) if name.endswith("running_var")}
    written = {"image"}
    for layer in layers:
        assert layer.reads in written
        written.add(layer.writes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_permuted_network_is_the_same_function(family, images):
    """Of the permutation that the other tests rely on."""
    state = state_of(family, 1)
    moved = permuted(family, state, 2)
    torch.testing.assert_close(answers(family, moved, images), answers(family, state, images), rtol=1e-10, atol=1e-12)
    assert not torch.equal(moved["head.weight"], state["head.weight"])


@pytest.mark.parametrize("match_norm", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_aligning_a_permuted_network_undoes_the_permutation(family, match_norm, images):
    state = state_of(family, 1)
    aligned = align(spec(family), permuted(family, state, 2), state, match_norm=match_norm)
    for name, values in state.items():
        torch.testing.assert_close(aligned[name], values, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_fusing_a_network_with_permutations_of_itself_gives_its_function(family, images):
    state = state_of(family, 1)
    models = [state, permuted(family, state, 2), permuted(family, state, 3)]
    for anchor in (0, 2):
        fused = fuse(spec(family), models, anchor, match_norm=True)
        torch.testing.assert_close(
            answers(family, fused, images), answers(family, state, images), rtol=1e-8, atol=1e-10
        )


def test_copies_of_a_model_fuse_to_it():
    state = state_of("conv4", 4)
    for name, values in fuse(spec("conv4"), [state] * 3, 1, match_norm=True).items():
        torch.testing.assert_close(values, state[name], rtol=1e-9, atol=1e-12)


def fused_by_hand(models, anchor, *, match_norm):
    """Conv4s of equal width, one neuron after another: the best matching is a permutation, from another solver."""
    aligned, given = [], models[anchor]
    for model in models:
        own, order = dict(model), [0, 1, 2]
        for block in range(4):
            convolution, norm = f"blocks.{4 * block}", f"blocks.{4 * block + 1}"
            described = [f"{convolution}.bias", f"{norm}.weight", f"{norm}.bias"]
            weight = model[f"{convolution}.weight"][:, order]

            def neuron(state, weights, i, names=described if match_norm else ()):
                return torch.cat([weights[i].flatten(), *(state[name][[i]] for name in names)])

            count = len(weight)
            costs = [
                [
                    torch.dist(neuron(model, weight, i), neuron(given, given[f"{convolution}.weight"], j))
                    for j in range(count)
                ]
                for i in range(count)
            ]
            theirs, ours = linear_sum_assignment(costs)
            order = [int(theirs[list(ours).index(j)]) for j in range(count)]
            own[f"{convolution}.weight"] = weight[order]
            for name in (*described, f"{norm}.running_mean", f"{norm}.running_var"):
                own[name] = model[name][order]
        head = model["head.weight"]
        own["head.weight"] = head.view(len(head), len(order), -1)[:, order].flatten(1)
        aligned.append(own)
    return {name: sum(own[name] for own in aligned) / len(models) for name in given if given[name].is_floating_point()}


def test_unrelated_networks_are_fused_as_by_hand():
    models, found, draws = [state_of("conv4", seed) for seed in (1, 2, 3)], {}, generator(8)
    for state in models:
        # Numbers kept per neuron are made large, so that comparing them too leads to other matches.
        vectors = {name: t for name, t in state.items() if t.ndim == 1}
        state.update({name: t + 5 * torch.rand(t.shape, generator=draws) for name, t in vectors.items()})
    for match_norm in (True, False):
        found[match_norm] = fuse(spec("conv4"), models, 1, match_norm=match_norm)
        expected = fused_by_hand(models, 1, match_norm=match_norm)
        assert expected.keys() == {name for name, t in models[1].items() if t.is_floating_point()}
        for name, values in expected.items():
            torch.testing.assert_close(found[match_norm][name], values, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found[True]["blocks.0.weight"], found[False]["blocks.0.weight"])


def test_plans_have_equal_masses_and_the_least_cost():
    draws = generator(5)
    source, target = torch.rand(5, 3, generator=draws), torch.rand(5, 3, generator=draws)
    plan = transport_plan(source, target)
    for axis in (0, 1):
        torch.testing.assert_close(plan.sum(axis), torch.full((5,), 0.2), rtol=0, atol=1e-8)
    cost = torch.cdist(source, target)
    least = min(cost[range(5), list(order)].sum() for order in itertools.permutations(range(5))) / 5
    torch.testing.assert_close((plan * cost).sum(), least)


def test_unequal_numbers_of_neurons_share_the_masses():
    plan = transport_plan(torch.rand(3, 2, generator=generator(6)), torch.rand(6, 2, generator=generator(7)))
    torch.testing.assert_close(plan.sum(1), torch.full((3,), 1 / 3), rtol=0, atol=1e-7)
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6), rtol=0, atol=1e-7)


@pytest.mark.parametrize("head", ["zero", "fresh", "averaged"])
def test_the_method_fuses_onto_the_best_model(head):
    models = [
        random_model(seed=seed, dtype=torch.float32, selection_accuracy=50.0 + 10 * (seed == 2)) for seed in range(4)
    ]
    models = [model.__class__(**{**vars(model), "index": i}) for i, model in enumerate(models)]
    pool = Pool(models, [f"class {c}" for c in range(WAYS)])
    cell = context("ota", pool=pool, options={"head": head, "match_norm": True})
    ((state,),) = (snapshot.states for snapshot in fit(cell).snapshots)
    states = [dict(model.network.named_parameters()) for model in models]
    expected = fuse(models[0].spec, [{n: p.detach() for n, p in s.items()} for s in states], 2, match_norm=True)
    if head == "zero":
        expected |= {name: torch.zeros_like(expected[name]) for name in ("head.weight", "head.bias")}
    if head == "fresh":
        expected |= {n: p.detach() for n, p in cell.new_learner(SIDE).named_parameters() if n.startswith("head.")}
    for name, values in expected.items():
        torch.testing.assert_close(state[name], values)


def test_heads_of_several_sides_are_left_out_and_the_rest_is_fused_as_ever():
    model, anchor = state_of("conv4", 0), state_of("conv4", 1)
    wide = anchor | {"head.weight": torch.ones(WAYS, 4 * anchor["head.weight"].shape[1], dtype=torch.float64)}
    fused, usual = (fuse(spec("conv4"), [model, other], 1, match_norm=True) for other in (wide, anchor))
    assert usual.keys() - fused.keys() == {"head.weight"}
    assert all(torch.equal(value, usual[name]) for name, value in fused.items())
