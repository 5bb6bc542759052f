"""PURER's images: which of them move (IF5), how far, and the episodes drawn from them."""

import pytest
import torch

from dfml.errors import DfmlError
from dfml.methods.purer.dynamic_set import DynamicSet
from dfml.zoo.pool import Pool
from support.learners import generator
from support.zoo import MEAN, SIDE, STD, same_bits, write_random_zoo

COUNT, RATE = 5, 0.25


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Three models of a data set of twelve classes, some of which no model has."""
    folder = write_random_zoo(tmp_path_factory.mktemp("zoo"), models=3, classes=12)
    return Pool.load([folder], label_space="global", device=torch.device("cpu"))


def dynamic(pool, **changes):
    options = {"images_per_class": COUNT, "learning_rate": RATE, "clip": False, "sparse": True, "roles": "mixed"}
    return DynamicSet(pool, **{**options, **changes}, generator=generator(0))


def gradient(seed=0, scale=1.0):
    return scale * torch.randn(COUNT, 3, SIDE, SIDE, generator=generator(seed))


def test_only_classes_of_some_model_have_images(pool):
    own = dynamic(pool)
    held = sorted({label for model in pool for label in model.class_ids})
    assert own.images.ready.tolist() == held
    assert len(held) < len(pool.class_names)
    assert own.images.pixels.shape == (len(held), COUNT, 3, SIDE, SIDE)
    for model in pool:
        assert [held[row] for row in own.rows(model)] == list(model.class_ids)


def test_images_begin_as_standard_normal_noise(pool):
    pixels = dynamic(pool).images.pixels
    assert pixels.mean().abs() < 0.03
    assert pixels.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("clip", [False, True])
def test_images_without_a_loss_stay_as_they_are(pool, clip):
    own = dynamic(pool, clip=clip)
    own.step({0: gradient(0), 1: gradient(1)})
    before = own.images.pixels.clone()
    own.step({1: gradient(2)})
    after = own.images.pixels
    assert [same_bits(a, b) for a, b in zip(after, before, strict=True)] == [row != 1 for row in range(len(before))]


def test_dense_steps_move_them_by_their_momentum(pool):
    own = dynamic(pool, sparse=False)
    own.step({0: gradient(0)})
    before = own.images.pixels.clone()
    own.step({1: gradient(1)})
    moved = [not same_bits(a, b) for a, b in zip(own.images.pixels, before, strict=True)]
    assert moved == [True, True, *[False] * (len(before) - 2)]


def test_the_first_step_of_a_class_is_the_learning_rate_whenever_it_comes(pool):
    own = dynamic(pool)
    for _ in range(3):
        own.step({0: gradient(0)})
    before, given = own.images.pixels.clone(), gradient(1)
    own.step({1: given})
    torch.testing.assert_close(own.images.pixels[1], before[1] - RATE * given.sign(), atol=1e-3, rtol=0)


def test_clipped_images_are_valid_from_the_start(pool):
    own, free = dynamic(pool, clip=True), dynamic(pool)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def seen(images):
        return images.pixels * std + mean

    torch.testing.assert_close(seen(own.images), seen(free.images).clamp(0, 1))
    for n in range(6):
        own.step({0: gradient(n)})
        free.step({0: gradient(n)})
    assert seen(own.images).min() > -1e-6 and seen(own.images).max() < 1 + 1e-6
    assert seen(free.images).min() < 0 and seen(free.images).max() > 1


def numbered(pool, roles="mixed"):
    """Every image filled with a number that tells its class and place."""
    own = dynamic(pool, roles=roles)
    numbers = own.images.ready[:, None] + torch.arange(COUNT) / 10
    mean, std = (values[:, None, :, None, None] for values in (own.images.mean, own.images.std))
    own.images.pixels.copy_((numbers[..., None, None, None] - mean) / std)
    return own


def draw(images, *, shots=2, queries=3, episodes=20, **options):
    options = {"ways": 3, "generator": generator(1), **options}
    classes, support, query = images.sample_episodes(episodes, shots=shots, queries=queries, **options)
    values = [(10 * part[:, :, 0, 0, 0]).round().long().view(episodes, 3, -1) for part in (support, query)]
    assert all(torch.equal(v // 10, classes[..., None].expand_as(v)) for v in values)
    return classes, *(v % 10 for v in values)


def test_episodes_mix_classes_and_images_without_repetition(pool):
    images = numbered(pool).images
    classes, support, query = draw(images)
    assert all(len(set(row.tolist())) == 3 for row in classes)
    assert set(classes.flatten().tolist()) == set(images.ready.tolist())
    together = torch.cat([support, query], 2).sort(2).values
    assert torch.equal(together, torch.arange(COUNT).expand_as(together))
    assert set(support.flatten().tolist()) == set(range(COUNT))


def test_fixed_roles_never_ask_about_support_images(pool):
    _, support, query = draw(numbered(pool, "fixed").images, queries=2)
    assert torch.equal(support, torch.arange(2).expand_as(support))
    assert set(query.flatten().tolist()) == {2, 3, 4}


def test_classes_can_be_chosen(pool):
    images = numbered(pool).images
    classes, *_ = draw(images, among=images.ready[[1, 3, 4]])
    assert set(classes.flatten().tolist()) == set(images.ready[[1, 3, 4]].tolist())


def test_too_few_images_or_classes_are_told(pool):
    images = dynamic(pool).images
    with pytest.raises(DfmlError, match=r"5 images per class cannot give 2 shots and 4 queries.*purer\.images"):
        draw(images, queries=4)
    with pytest.raises(DfmlError, match=r"20-way episodes need more.*zoo\.models"):
        images.sample_episodes(1, ways=20, shots=1, queries=1, generator=generator(0))


def test_gradients_of_episodes_reach_the_drawn_images_alone(pool):
    variable = dynamic(pool).variable()
    classes, support, _ = variable.sample_episodes(1, ways=3, shots=2, queries=1, generator=generator(0))
    (found,) = torch.autograd.grad(support.sum(), variable.pixels)
    counts = (found.flatten(2).abs().sum(2) > 0).sum(1)
    assert dict.fromkeys(classes[0].tolist(), 2) == {
        label: n for label, n in zip(variable.ready.tolist(), counts.tolist(), strict=True) if n
    }
    std = torch.tensor(STD)[:, None, None].expand(3, SIDE, SIDE)
    torch.testing.assert_close(found[found.flatten(2).abs().sum(2) > 0], std.expand(6, 3, SIDE, SIDE))
