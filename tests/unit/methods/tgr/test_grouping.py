"""Likeness of models and groups of unlike ones (IF9, T1, T4)."""

import numpy as np
import pytest
import torch

from dfml.methods.tgr import grouping
from dfml.methods.tgr.grouping import EPSILON, DissimilarGroups, eligible, similarity
from support.learners import generator
from support.zoo import CPU

SHAPES = {"weight": (6, 5), "bias": (7,), "scale": (1, 3, 3)}


def embedding(seed):
    draws = generator(seed)
    return {name: torch.rand(shape, generator=draws).pow(4) for name, shape in SHAPES.items()}


def naive(a, b, epsilon):
    cosines = []
    for name in a:
        x, y = a[name].double().flatten(), b[name].double().flatten()
        floor = 1e-6 * (x + y).mean() if epsilon == "relative" else 1e-6
        cosines.append(torch.nn.functional.cosine_similarity(x / (x + y + floor), y / (x + y + floor), dim=0))
    return torch.stack(cosines).mean()


@pytest.mark.parametrize("scale", [1.0, 1e-9])
@pytest.mark.parametrize("epsilon", ["relative", "absolute"])
def test_similarity_is_that_of_each_pair_alone(epsilon, scale, monkeypatch):
    monkeypatch.setattr(grouping, "BLOCK", 4)  # several blocks, the last one cut short
    models = [{name: scale * value for name, value in embedding(seed).items()} for seed in range(4)]
    found = similarity(models, epsilon=epsilon, device=CPU)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4, dtype=torch.float64))
    for a in range(4):
        for b in range(a):
            torch.testing.assert_close(found[a, b], naive(models[a], models[b], epsilon), atol=2e-6, rtol=0)
    assert 0 < found.min() < 0.9


def test_only_the_relative_epsilon_ignores_the_scale():
    models = [embedding(seed) for seed in range(3)]
    small = [{name: 1e-9 * value for name, value in model.items()} for model in models]
    both = {e: [similarity(m, epsilon=e, device=CPU) for m in (models, small)] for e in ("relative", "absolute")}
    torch.testing.assert_close(*both["relative"], atol=1e-5, rtol=0)
    assert (both["absolute"][0] - both["absolute"][1]).abs().max() > 0.01
    assert small[0]["weight"].max() < EPSILON


def test_equal_embeddings_are_alike_and_disjoint_ones_are_not():
    one = embedding(0)
    other = {name: torch.zeros_like(value) for name, value in one.items()}
    for name, value in one.items():
        value.flatten()[::2] = 0
        other[name].view(-1)[::2] = 1
    found = similarity([one, {n: v.clone() for n, v in one.items()}, other], epsilon="relative", device=CPU)
    torch.testing.assert_close(found[0, 1], torch.tensor(1.0, dtype=torch.float64))
    assert found[0, 2] == 0


def test_tensors_of_rounding_errors_do_not_count():
    models = [embedding(seed) for seed in range(3)]
    expected = similarity(models, epsilon="relative", device=CPU)
    for seed, model in enumerate(models):
        model["noise"] = 1e-14 * torch.rand(5, generator=generator(50 + seed))
    assert torch.equal(similarity(models, epsilon="relative", device=CPU), expected)


def test_unlike_models_form_a_group():
    planned = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    noise = torch.rand(10, 10, generator=generator(0))
    same = planned[:, None] == planned
    likeness = torch.where(same, 0.2, 0.9) + 0.04 * (noise + noise.T)
    likeness.fill_diagonal_(1)
    groups = DissimilarGroups(likeness, 3, generator(1)).members
    assert sorted(map(sorted, groups)) == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_fewer_models_than_groups_stand_alone(count):
    groups = DissimilarGroups(torch.eye(count), 5, generator(0))
    assert groups.members == [[index] for index in range(count)]
    assert len(set(groups.draw(4, np.random.default_rng(0)))) == 1


def test_models_that_are_all_alike_are_grouped_somehow():
    groups = DissimilarGroups(torch.ones(7, 7, dtype=torch.float64), 3, generator(0)).members
    assert sorted(model for group in groups for model in group) == list(range(7))


def test_an_iteration_draws_from_one_group_and_every_group_evenly():
    groups = DissimilarGroups(torch.eye(5), 5, generator(0))
    groups.members = [[0], [1, 2], [3, 4, 5, 6]]
    draws = [groups.draw(3, np.random.default_rng(seed)) for seed in range(600)]
    homes = [next(i for i, members in enumerate(groups.members) if models[0] in members) for models in draws]
    assert all(set(models) <= set(groups.members[home]) for models, home in zip(draws, homes, strict=True))
    assert np.bincount(homes) == pytest.approx([200] * 3, abs=50)
    assert {model for models in draws for model in models} == set(range(7))
    assert any(len(set(models)) < 3 for models, home in zip(draws, homes, strict=True) if home == 2)  # replacement


@pytest.mark.parametrize("group_models", ["all", "first_100"])
def test_models_of_every_domain_are_drawn_unless_as_published(group_models):
    domains = np.repeat([0, 1, 2], 100)
    draws = generator(0)
    noise = torch.rand(300, 300, generator=draws)
    likeness = (0.6 + 0.3 * (torch.as_tensor(domains)[:, None] == torch.as_tensor(domains))) + 0.05 * (noise + noise.T)
    count = eligible(300, group_models)
    groups = DissimilarGroups(likeness[:count, :count], 5, draws)
    drawn = {domains[i] for seed in range(200) for i in groups.draw(4, np.random.default_rng(seed))}
    assert drawn == ({0, 1, 2} if group_models == "all" else {0})


def test_a_small_pool_is_whole_either_way():
    assert [eligible(40, rule) for rule in ("all", "first_100")] == [40, 40]
