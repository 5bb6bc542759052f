"""Episodes of a bank: classes of all models, each image normalised and sized as its data set is (F19)."""

import pytest
import torch

from dfml.imaging.pixels import resized
from dfml.inversion.bank import ImageBank
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.zoo.pool import Pool
from support.inversion import recovered
from support.learners import generator
from support.zoo import CPU, WAYS, random_model

SMALL, LARGE, PER_CLASS = 28, 32, 6


@pytest.fixture(scope="module")
def pool():
    """Two models of a small domain, two of a large one."""
    models = [
        random_model(
            seed=i,
            dtype=torch.float32,
            classes=torch.arange(WAYS) + WAYS * i,
            dataset="small" if i < 2 else "large",
            side=SMALL if i < 2 else LARGE,
            mean=torch.full((3,), 0.1 if i < 2 else 0.3),
            std=torch.full((3,), 0.5 if i < 2 else 0.25),
        )
        for i in range(4)
    ]
    return Pool(models, [str(c) for c in range(4 * WAYS)])


@pytest.fixture(scope="module")
def bank(pool):
    """The grey level of every image is ten times its class."""
    held = ImageBank(4 * WAYS, slots=2, images_per_class=PER_CLASS, side=LARGE, device=CPU)
    for model in pool:
        grey = (10 * model.classes.repeat(PER_CLASS) / 255)[:, None, None, None].expand(-1, 3, LARGE, LARGE)
        held.add(recovered(model, grey))
    return held


def classes_of(images, mean, std):
    return ((images[:, :, 0, 0, 0] * std + mean) * 255 / 10).round().long()


def test_native_batches_have_one_side_and_its_classes(pool, bank):
    source = BankEpisodes(bank, pool, shots=1, queries=2)
    draws, met = generator(0), set()
    for _ in range(40):
        support, query = source.draw(3, ways=WAYS, generator=draws)
        side = support.shape[-1]
        assert query.shape == (3, 2 * WAYS, 3, side, side)
        mean, std = (0.1, 0.5) if side == SMALL else (0.3, 0.25)
        labels = classes_of(support, mean, std)
        low, high = (0, 2 * WAYS) if side == SMALL else (2 * WAYS, 4 * WAYS)
        assert labels.min() >= low and labels.max() < high
        assert torch.equal(classes_of(query, mean, std), labels.repeat_interleave(2, 1))
        met.add(side)
    assert met == {SMALL, LARGE}


@pytest.mark.parametrize("side", [SMALL, LARGE])
def test_a_learner_of_one_side_gets_what_it_would_of_any_at_that_side(pool, side):
    """Images of both data sets, brought to their own side first: a small one has no more detail for being enlarged."""
    held = ImageBank(4 * WAYS, slots=2, images_per_class=PER_CLASS, side=LARGE, device=CPU)
    noise = generator(1)
    for model in pool:
        held.add(recovered(model, torch.rand(PER_CLASS * WAYS, 3, LARGE, LARGE, generator=noise)))
    native, brought = (BankEpisodes(held, pool, shots=1, queries=2, learner_side=own) for own in (None, side))
    draws, same, met = generator(0), generator(0), set()
    for _ in range(20):
        for at_own, at_learners in zip(
            native.draw(3, ways=WAYS, generator=draws), brought.draw(3, ways=WAYS, generator=same), strict=True
        ):
            assert at_learners.shape[-1] == side
            assert torch.allclose(at_learners, resized(at_own, side), atol=1e-5)
            met.add(at_own.shape[-1])
    assert met == {SMALL, LARGE}


def test_on_the_canvas_domains_mix_and_keep_their_normalisation(pool, bank):
    source = BankEpisodes(bank, pool, shots=1, queries=1, domains="mixed", side="canvas")
    support, _ = source.draw(60, ways=WAYS, generator=generator(0))
    assert support.shape[-1] == LARGE
    # Undone with the norm of its own data set, every image has the grey level of a class of that data set.
    grey = support[:, :, 0, 0, 0]
    as_small, as_large = (grey * 0.5 + 0.1) * 25.5, (grey * 0.25 + 0.3) * 25.5
    is_small = (as_small - as_small.round()).abs() < 1e-3
    is_large = (as_large - as_large.round()).abs() < 1e-3
    fits_small = is_small & (as_small.round() < 2 * WAYS)
    fits_large = is_large & (as_large.round() >= 2 * WAYS)
    assert (fits_small | fits_large).all()
    assert (fits_small.any(1) & fits_large.any(1)).sum() > 30


@pytest.mark.parametrize("side", ["native", "canvas"])
def test_of_one_domain_every_episode_has_classes_of_one_and_all_are_met(pool, bank, side):
    source = BankEpisodes(bank, pool, shots=1, queries=2, side=side)
    draws, batches = generator(0), []
    for _ in range(20):
        classes, support, query = source.draw_labelled(4, ways=WAYS, generator=draws)
        assert (support.shape[:2], query.shape[:2]) == ((4, WAYS), (4, 2 * WAYS))
        large = classes >= 2 * WAYS
        assert torch.equal(large.all(1), large.any(1))
        for i, mean, std in ((~large[:, 0], 0.1, 0.5), (large[:, 0], 0.3, 0.25)):
            assert torch.equal(classes_of(support[i], mean, std), classes[i])
        batches.append(large[:, 0])
    met = torch.stack(batches)
    assert 0.2 < met.float().mean() < 0.8
    # On the canvas a batch may hold both; at native sides it has one resolution, so one domain of these two.
    assert (met.any(1) & ~met.all(1)).any() == (side == "canvas")


def test_with_a_single_domain_one_and_mixed_are_the_same_draw(pool, bank):
    alone = Pool(list(pool)[:2], pool.class_names)
    held = ImageBank(4 * WAYS, slots=2, images_per_class=PER_CLASS, side=SMALL, device=CPU)
    for model in alone:
        held.add(recovered(model, torch.rand(PER_CLASS * WAYS, 3, SMALL, SMALL)))
    one, mixed = (
        BankEpisodes(held, alone, shots=1, queries=1, domains=domains).draw(3, ways=WAYS, generator=generator(1))
        for domains in ("one", "mixed")
    )
    assert all(torch.equal(a, b) for a, b in zip(one, mixed, strict=True))


def test_of_unlike_many_data_sets_of_a_side_each_is_drawn_as_often():
    """Two data sets of one side beside one of another: a third each, as meta-test and FIVE have it."""
    models = [
        random_model(seed=i, classes=torch.arange(WAYS) + WAYS * i, dataset=name, side=side, dtype=torch.float32)
        for i, (name, side) in enumerate((("a", SMALL), ("b", LARGE), ("c", LARGE)))
    ]
    pool = Pool(models, [str(c) for c in range(3 * WAYS)])
    held = ImageBank(3 * WAYS, slots=1, images_per_class=PER_CLASS, side=LARGE, device=CPU)
    for model in pool:
        held.add(recovered(model, torch.rand(PER_CLASS * WAYS, 3, LARGE, LARGE)))
    draws = generator(0)
    for domains in ("one", "mixed"):
        source = BankEpisodes(held, pool, shots=1, queries=1, domains=domains)
        drawn = torch.stack([source.draw_labelled(1, ways=WAYS, generator=draws)[0][0] for _ in range(600)])
        small = (drawn < WAYS).all(1).float().mean()
        assert 0.27 < small < 0.40
        if domains == "one":
            assert 0.27 < (drawn >= 2 * WAYS).all(1).float().mean() < 0.40


def test_a_side_with_too_few_classes_is_left_out(pool):
    held = ImageBank(4 * WAYS, slots=2, images_per_class=PER_CLASS, side=LARGE, device=CPU)
    held.add(recovered(pool[3], torch.rand(PER_CLASS * WAYS, 3, LARGE, LARGE)))
    source = BankEpisodes(held, pool, shots=1, queries=1)
    assert {source.draw(1, ways=WAYS, generator=generator(s))[0].shape[-1] for s in range(20)} == {LARGE}
