"""Accuracy over fixed episodes: known answers, chance, and the learner left alone."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from dfml.data.episodes import gather
from dfml.data.images import ClassImages
from dfml.errors import DataError
from dfml.evaluation import episodes as module
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.evaluation.intervals import interval95
from dfml.evaluation.settings import EvaluationSettings
from dfml.metalearning.learner import BATCH_NORM_MODES, RULES
from support.learners import encoder, learner
from support.zoo import CPU, SIDE, WAYS, pattern_images

SETTINGS = EvaluationSettings(queries=3)


class Pixels(nn.Module):
    """An encoder whose features are the mean colours of a four by four grid."""

    normalises = False

    def features(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def draw(data, *, count=12, shots=1, **settings):
    chosen = SETTINGS.model_copy(update=settings)
    return EpisodeSet.draw(data, ways=WAYS, shots=shots, settings=chosen, count=count, device=CPU)


def noise_images(classes=6, per_class=12):
    draws = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (per_class, 3, 16, 16), generator=draws, dtype=torch.uint8) for _ in range(classes)]
    return ClassImages("noise", "meta_test", tuple(f"c{c}" for c in range(classes)), images, "CC0-1.0")


def test_separable_classes_give_a_hundred_percent():
    found = episode_accuracies(learner(Pixels(), finetune=False), draw(pattern_images(split="meta_test")))
    assert set(found) == {(rule, mode) for rule in RULES[1:] for mode in BATCH_NORM_MODES}
    assert all(values.tolist() == [100.0] * 12 for values in found.values())


def test_classes_without_a_difference_give_chance():
    found = episode_accuracies(learner(Pixels(), finetune=False), draw(noise_images(), count=600))
    for values in found.values():
        assert values.shape == (600,)
        assert abs(values.mean() - 100 / WAYS) < 3 * interval95(values)


def test_features_without_a_difference_give_exactly_chance():
    blank = encoder()
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    found = episode_accuracies(learner(blank), draw(pattern_images(split="meta_test")))
    assert all(values == pytest.approx([100 / WAYS] * 12) for values in found.values())


@pytest.mark.parametrize("shots", [1, 2])
def test_accuracies_are_those_of_adapt(shots):
    own, episodes = learner(), draw(pattern_images(split="meta_test"), count=4, shots=shots)
    found = episode_accuracies(own, episodes)
    assert set(found) == {(rule, mode) for rule in RULES for mode in BATCH_NORM_MODES}
    for (rule, mode), values in found.items():
        for index, value in enumerate(values):
            batch = gather(episodes.images, episodes.offsets, episodes.episodes, index)
            scores = own.adapt(batch.support, batch.support_labels, rule=rule, batch_norm=mode)(batch.query)
            expected = 100 * (scores.argmax(1) == batch.query_labels).double().mean().item()
            assert value == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["finetuned", "side_by_side"])
@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_batched_episodes_give_the_same_as_one_after_another(monkeypatch, kind, at_once):
    """In batches that divide the episodes, or do not, or hold them all."""
    made = {
        "finetuned": lambda: learner(steps=4),
        "side_by_side": lambda: learner(encoder(0), encoder(1), finetune=False),
    }
    own, episodes = made[kind](), draw(pattern_images(split="meta_test"), count=12)
    images = WAYS * (1 + SETTINGS.queries)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", at_once * images * SIDE**2)
    one, many = (episode_accuracies(own, episodes, batched=batched) for batched in (False, True))
    assert one.keys() == many.keys()
    for key, values in one.items():
        # A score may fall on the other side of a tie by rounding: one answer of an episode, seldom.
        assert np.abs(many[key] - values).max() <= 100 / (WAYS * SETTINGS.queries) + 1e-9
        assert (many[key] == values).mean() >= 0.9


def test_threads_share_the_episodes_and_change_no_bit():
    own, episodes = learner(), draw(pattern_images(split="meta_test"), count=20)
    found = []
    for threads in (1, 3):  # the fixture around every test puts it back
        torch.set_num_threads(threads)
        found.append(episode_accuracies(own, episodes))
    assert all((found[1][key] == values).all() for key, values in found[0].items())


def test_episodes_do_not_depend_on_earlier_ones():
    data = pattern_images(split="meta_test")
    assert draw(data).episodes.digest() == draw(data).episodes.digest()
    assert draw(data, episode_seed=1).episodes.digest() != draw(data).episodes.digest()


def test_evaluation_only_reads():
    own, episodes = learner(), draw(pattern_images(split="meta_test"))
    weights = {name: t.clone() for name, t in own.encoders[0].state_dict().items()}
    numbers = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    first = episode_accuracies(own, episodes)
    assert all(torch.equal(t, weights[name]) for name, t in own.encoders[0].state_dict().items())
    assert all(p.grad is None for p in own.encoders[0].parameters())
    assert random.getstate() == numbers[0]
    assert repr(np.random.get_state()) == numbers[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), numbers[2])
    again = episode_accuracies(own, episodes)
    assert all((again[key] == values).all() for key, values in first.items())


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(DataError, match=r"meta_test: .*shots \+ queries = 10 \+ 3 = 13 .* c0 \(12\)"):
        draw(noise_images(), shots=10)
