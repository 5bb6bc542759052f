"""Which models an iteration inverts."""

from collections import Counter

import pytest
import torch

from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings
from dfml.zoo.pool import Pool
from support.zoo import CPU, SIDE, write_random_zoo

MODELS = 7


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Four models of one architecture and three of another."""
    root = tmp_path_factory.mktemp("zoos")
    other = {"architecture": "narrow", "family": "resnet10", "models": 3, "seed": 1}
    folders = [write_random_zoo(root / "a"), write_random_zoo(root / "b", **other)]
    return Pool.load(folders, label_space="global", device=CPU)


def sampler(pool, *, sample="without", count=3, seed=0, **options):
    return ModelSampler(pool, FiveSettings(sample=sample, models_per_iteration=count), seed, **options)


def indices(models):
    return [model.index for model in models]


@pytest.mark.parametrize("sample", ["with_replacement", "without"])
def test_models_of_one_step_carry_the_weights_of_their_own_checkpoints(pool, sample):
    images = torch.rand(2, 3, SIDE, SIDE)
    marks = [model.logits(images) for model in pool]
    seen = Counter()
    for iteration in range(50):
        models = sampler(pool, sample=sample).draw(iteration)
        assert all(torch.equal(m.logits(images), marks[m.index]) for m in models)
        assert len({id(m.network) for m in models}) == len({m.index for m in models})
        seen.update(m.architecture for m in models)
    assert set(seen) == {"conv4", "narrow"}


def test_shared_last_is_one_network_for_all_whatever_the_sampling(pool):
    for iteration in range(20):
        models = sampler(pool, hetero="shared_last").draw(iteration)
        assert len({id(m.network) for m in models}) == 1
        assert models[0].network is pool[models[-1].index].network


def test_without_replacement_covers_the_pool_turn_by_turn(pool):
    drawn = [index for iteration in range(MODELS) for index in indices(sampler(pool).draw(iteration))]
    turns = [drawn[start : start + MODELS] for start in range(0, len(drawn), MODELS)]
    assert len(turns) == 3
    assert all(sorted(turn) == list(range(MODELS)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_more_models_than_the_pool_has(pool):
    drawn = Counter(indices(sampler(pool, count=2 * MODELS).draw(0)))
    assert drawn == dict.fromkeys(range(MODELS), 2)


@pytest.mark.parametrize("sample", ["with_replacement", "without"])
def test_a_draw_depends_on_seed_stream_and_iteration_alone(pool, sample):
    in_order = [indices(sampler(pool, sample=sample).draw(i)) for i in range(10)]
    backwards = [indices(sampler(pool, sample=sample).draw(i)) for i in reversed(range(10))]
    assert in_order == backwards[::-1]
    for change in ({"seed": 1}, {"stream": "free"}):
        assert [indices(sampler(pool, sample=sample, **change).draw(i)) for i in range(10)] != in_order
