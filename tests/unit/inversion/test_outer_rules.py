"""How the meta-generator moves: pseudo-gradients of the four rules, and the outer optimisers."""

import copy

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.compute.state import collect, restore
from support.inversion import meta_generator, objective, parameters
from support.zoo import random_model

RULES = ("fomaml_last", "fomaml_sum", "reptile", "maml")
RATE = 0.02
STEP = 1e-7  # of a finite difference; larger ones cross kinks of the networks, where a gradient step jumps


def pseudo_gradient(rule, *, steps=3, five=None, asked=None, **settings):
    """The rule's pseudo-gradient as one vector; SGD steps at `RATE` unless `settings` say otherwise."""
    options = {"inner_optimiser": "sgd", "learning_rate": RATE, "latent_learning_rate": RATE, **settings}
    five = five or meta_generator(outer_rule=rule, steps=steps, **options)
    _, meta = five.adapt(random_model(), asked or objective(), images_per_class=3, generator=torch_generator(0))
    return flat(meta)


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def test_reptile_of_one_sgd_step_is_the_gradient_times_its_rate():
    expected = RATE * pseudo_gradient("fomaml_sum", steps=1)
    assert torch.allclose(pseudo_gradient("reptile", steps=1), expected, rtol=0, atol=1e-12)


def test_reptile_of_several_sgd_steps_is_their_sum_times_the_rate():
    expected = RATE * pseudo_gradient("fomaml_sum", steps=4)
    assert torch.allclose(pseudo_gradient("reptile", steps=4), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("inner", ["adam", "sgd"])
def test_the_sum_is_that_of_every_steps_last_gradient(inner):
    each = [pseudo_gradient("fomaml_last", steps=k, inner_optimiser=inner) for k in (1, 2, 3)]
    total = pseudo_gradient("fomaml_sum", steps=3, inner_optimiser=inner)
    assert torch.allclose(total, sum(each), rtol=0, atol=1e-12)
    assert not torch.allclose(each[0], each[2])


@pytest.mark.parametrize("inner", ["adam", "sgd"])
@pytest.mark.parametrize("augmented", [False, True])
def test_all_first_order_rules_are_maml_for_one_step(inner, augmented):
    asked = objective(crop_padding=2 if augmented else 0, bn_weight=0.1)
    found = [
        pseudo_gradient(rule, steps=1, inner_optimiser=inner, asked=asked)
        for rule in ("maml", "fomaml_last", "fomaml_sum")
    ]
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-12)
    assert torch.allclose(found[0], found[2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("inner", ["sgd", "adam"])
@pytest.mark.parametrize("augmented", [False, True])
def test_maml_matches_finite_differences(inner, augmented):
    rate = {"learning_rate": 0.05, "latent_learning_rate": 0.05} if inner == "sgd" else {}
    five = meta_generator(outer_rule="maml", steps=2, inner_optimiser=inner, **rate)
    asked = objective(crop_padding=2 if augmented else 0)
    gradient = pseudo_gradient("maml", five=five, asked=asked)
    start = parameters(five.network)
    draws = torch_generator(1)

    def last_loss(direction, size):
        with torch.no_grad():
            for p, s, d in zip(five.network.parameters(), start, direction, strict=True):
                p.copy_(s + size * d)
        kept, _ = five.adapt(random_model(), asked, images_per_class=3, generator=torch_generator(0))
        return kept.curve[-1].item()

    for _ in range(10):
        direction = [torch.randn(p.shape, generator=draws).double() for p in start]
        length = flat(direction).norm()
        direction = [d / length for d in direction]
        difference = (last_loss(direction, STEP) - last_loss(direction, -STEP)) / (2 * STEP)
        assert (gradient @ flat(direction)).item() == pytest.approx(difference, rel=1e-4)


def test_maml_is_not_a_first_order_rule_in_disguise():
    exact, first_order = (pseudo_gradient(rule, steps=3) for rule in ("maml", "fomaml_last"))
    assert torch.nn.functional.cosine_similarity(exact, first_order, dim=0) < 1 - 1e-6


@pytest.mark.parametrize("inner", ["adam", "sgd"])
def test_maml_takes_the_same_inner_steps_as_the_other_rules(inner):
    curves = []
    for rule in RULES:
        five = meta_generator(outer_rule=rule, steps=4, inner_optimiser=inner)
        draws = torch_generator(0)
        curves.append(
            five.adapt(random_model(), objective(crop_padding=2), images_per_class=3, generator=draws)[0].curve
        )
    assert all(torch.allclose(curve, curves[0], rtol=1e-6) for curve in curves)


def moves(five, gradients):
    """How far each parameter moves in one outer step."""
    before = parameters(five.network)
    five.outer_step(gradients)
    return [after.detach() - b for after, b in zip(five.network.parameters(), before, strict=True)]


def gradients_of(five, *, seed=0, scale=1.0):
    draws = torch_generator(seed, "gradients")
    return [scale * torch.randn(p.shape, generator=draws).to(p) for p in five.network.parameters()]


def test_fresh_adam_moves_by_the_sign_every_time():
    five = meta_generator(outer_optimiser="adam_fresh", learning_rate=0.003)
    for seed in range(3):
        gradients = gradients_of(five, seed=seed)
        for move, gradient in zip(moves(five, [gradients]), gradients, strict=True):
            assert torch.allclose(move, -0.003 * gradient.sign(), rtol=0, atol=1e-6)


def test_persistent_adam_moves_by_the_sign_only_once():
    five = meta_generator(outer_optimiser="adam_persistent", learning_rate=0.003, steps=2)
    gradients = gradients_of(five)
    for move, gradient in zip(moves(five, [gradients]), gradients, strict=True):
        assert torch.allclose(move, -0.006 * gradient.sign(), rtol=0, atol=1e-6)
    gradients = gradients_of(five, seed=1)
    second = flat(moves(five, [gradients]))
    assert (second + 0.006 * flat(gradients).sign()).abs().max() > 1e-3


def test_sgd_moves_by_the_sum_over_models():
    five = meta_generator(outer_optimiser="sgd", outer_learning_rate=0.5)
    parts = [gradients_of(five, seed=seed) for seed in range(3)]
    for move, *gradients in zip(moves(five, parts), *parts, strict=True):
        assert torch.allclose(move, -0.5 * sum(gradients), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"outer_optimiser": "adam_fresh"}, 0.01),
        ({"outer_optimiser": "adam_persistent"}, 0.03),
        ({"outer_optimiser": "sgd"}, 0.03),
        ({"outer_optimiser": "sgd", "outer_learning_rate": 0.2}, 0.2),
    ],
)
def test_outer_learning_rate_by_default(settings, rate):
    five = meta_generator(steps=3, learning_rate=0.01, **settings)
    ones = [torch.ones_like(p) for p in five.network.parameters()]
    assert torch.allclose(flat(moves(five, [ones])), torch.tensor(-rate, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize("optimiser", ["adam_fresh", "adam_persistent", "sgd"])
def test_a_restored_meta_generator_goes_on_to_the_same_bits(optimiser):
    undisturbed = meta_generator(outer_optimiser=optimiser)
    undisturbed.outer_step([gradients_of(undisturbed)])
    state = copy.deepcopy(collect(undisturbed))
    undisturbed.outer_step([gradients_of(undisturbed, seed=1)])
    restored = meta_generator(seed=3, outer_optimiser=optimiser)
    restore(restored, state)
    restored.outer_step([gradients_of(restored, seed=1)])
    assert torch.equal(flat(restored.network.parameters()), flat(undisturbed.network.parameters()))


def test_a_step_recovers_every_model_and_moves_the_generator_once():
    five = meta_generator(outer_optimiser="sgd", outer_learning_rate=1.0)
    models = [random_model(seed=seed) for seed in range(3)]
    draws, again = torch_generator(0), torch_generator(0)
    alone = [five.adapt(model, objective(), images_per_class=2, generator=again) for model in models]
    before = parameters(five.network)
    recovered = five.step(models, objective(), images_per_class=2, generator=draws)
    assert [item.model for item in recovered] == models
    assert all(torch.equal(item.images, own.images) for item, (own, _) in zip(recovered, alone, strict=True))
    moved = flat(five.network.parameters()) - flat(before)
    assert torch.allclose(moved, -sum(flat(meta) for _, meta in alone), rtol=0, atol=1e-12)
