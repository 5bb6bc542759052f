"""One inversion: what is kept, what is left alone, what is counted."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.module import register_module_forward_hook

from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.inversion.recovered import interleaved_targets
from dfml.networks.generator import Generator
from support.inversion import linear_model, meta_generator, objective, parameters
from support.zoo import SIDE, WAYS, random_model, storages

RULES = ("fomaml_last", "fomaml_sum", "reptile", "maml")
# Latents that jump make the loss rise again, so that the iterates can be told apart.
JUMPY = {"steps": 6, "learning_rate": 0.3, "latent_learning_rate": 3.0}


def adapt(five, model=None, *, asked=None, seed=0, images_per_class=4):
    return five.adapt(
        model or random_model(),
        asked or objective(),
        images_per_class=images_per_class,
        generator=torch_generator(seed),
    )


def loss_of(recovered):
    return F.cross_entropy(recovered.model.logits(recovered.images), recovered.targets)


def test_targets_are_interleaved():
    assert interleaved_targets(3, 2, torch.device("cpu")).tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_shapes_range_and_targets(rule):
    recovered, meta = adapt(meta_generator(outer_rule=rule))
    assert recovered.images.shape == (4 * WAYS, 3, SIDE, SIDE)
    assert 0 <= recovered.images.min() <= recovered.images.max() <= 1
    assert torch.equal(recovered.targets, interleaved_targets(WAYS, 4, torch.device("cpu")))
    assert recovered.curve.shape == (3,)
    assert not recovered.images.requires_grad
    assert all(m.isfinite().all() and not m.requires_grad for m in meta)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", ["conv4", "resnet10"])
def test_the_teacher_is_untouched(rule, family):
    model = random_model(family=family)
    before = {name: t.clone() for name, t in model.network.state_dict().items()}
    five = meta_generator(outer_rule=rule)
    five.step(
        [model, model], objective(bn_weight=0.5, crop_padding=2), images_per_class=2, generator=torch_generator(0)
    )
    assert all(torch.equal(t, before[name]) for name, t in model.network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    assert not any(module.training for module in model.network.modules())


@pytest.mark.parametrize("rule", RULES)
def test_adapting_leaves_the_generator_alone(rule):
    five = meta_generator(outer_rule=rule)
    before = parameters(five.network)
    adapt(five)
    assert all(torch.equal(a, b) for a, b in zip(five.network.parameters(), before, strict=True))
    assert all(p.grad is None for p in five.network.parameters())


def test_working_copies_share_no_memory():
    five = meta_generator()
    five.step(
        [random_model(seed=seed) for seed in range(2)], objective(), images_per_class=2, generator=torch_generator(0)
    )
    held = [storages(m.parameters()) for m in (five.network, *(place.working for place in five.together.places))]
    assert len(held) == 3
    assert sum(len(own) for own in held) == len(set().union(*held))


@pytest.mark.parametrize("rule", RULES)
def test_models_of_one_step_do_not_notice_each_other(rule):
    models = [random_model(seed=seed) for seed in (0, 1, 0, 2)]
    models[2] = models[0]
    asked, five = objective(bn_weight=0.3, crop_padding=2), meta_generator(outer_rule=rule)
    draws = torch_generator(0)
    alone = [five.adapt(model, asked, images_per_class=2, generator=draws)[0] for model in models]
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            together = meta_generator(outer_rule=rule).step(
                models, asked, images_per_class=2, generator=torch_generator(0)
            )
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(a.images, b.images) for a, b in zip(alone, together, strict=True))
        assert all(torch.equal(a.curve, b.curve) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_every_inversion_starts_from_the_same_generator(rule):
    five = meta_generator(outer_rule=rule)
    first, meta = adapt(five)
    adapt(five, random_model(seed=9), seed=9)
    again, meta_again = adapt(five)
    assert torch.equal(first.images, again.images)
    assert all(torch.equal(a, b) for a, b in zip(meta, meta_again, strict=True))
    assert not torch.equal(first.images, adapt(five, seed=1)[0].images)


@pytest.mark.parametrize("rule", ["fomaml_sum", "maml"])
def test_pre_last_keeps_the_last_forward_before_the_last_update(rule):
    recovered, _ = adapt(meta_generator(keep="pre_last", outer_rule=rule, **JUMPY))
    assert loss_of(recovered).item() == pytest.approx(recovered.curve[-1].item(), rel=1e-12)


@pytest.mark.parametrize("rule", ["fomaml_sum", "maml"])
def test_best_keeps_the_lowest_loss(rule):
    kept_early = 0
    for seed in range(4):
        recovered, _ = adapt(meta_generator(keep="best", outer_rule=rule, **JUMPY), seed=seed)
        assert loss_of(recovered).item() == pytest.approx(recovered.curve.min().item(), rel=1e-12)
        kept_early += int(recovered.curve.argmin() < 5)
    assert kept_early


@pytest.mark.parametrize("rule", ["fomaml_sum", "maml"])
def test_final_keeps_one_more_forward_after_the_last_update(rule):
    final, _ = adapt(meta_generator(keep="final", outer_rule=rule, **JUMPY))
    longer, _ = adapt(meta_generator(keep="final", outer_rule=rule, **{**JUMPY, "steps": 7}))
    assert loss_of(final).item() == pytest.approx(longer.curve[6].item(), rel=1e-12)
    assert torch.equal(final.curve, longer.curve[:6])


def test_best_is_judged_by_the_whole_loss_not_by_the_cross_entropy():
    for seed in range(20):
        asked = objective(bn_weight=1.0)
        kept, _ = adapt(meta_generator(keep="best", **JUMPY), asked=asked, seed=seed)
        if loss_of(kept) > kept.curve.min() + 1e-6:
            return
    pytest.fail("in no run did the statistics term decide")


def poisoned(kind, at):
    """An objective that from call number `at` on is not finite, or has a gradient that is not."""
    calls = []

    def asked(*arguments):
        calls.append(None)
        loss, cross_entropy = objective()(*arguments)
        if len(calls) >= at:
            loss = loss + (0 * loss).sqrt() if kind == "gradient" else loss * float(kind)
        return loss, cross_entropy

    asked.views = objective().views
    return asked


@pytest.mark.parametrize("keep", ["pre_last", "best", "final"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("kind", "at"), [("nan", 1), ("nan", 3), ("inf", 2), ("gradient", 1)])
def test_a_loss_that_is_not_finite_is_an_error(keep, rule, kind, at):
    with pytest.raises(DfmlError, match="toy/conv4 model 7: the loss is not finite; lower"):
        adapt(meta_generator(keep=keep, outer_rule=rule), random_model(seed=7), asked=poisoned(kind, at))


def test_a_last_step_that_ruins_the_kept_images_is_an_error():
    with pytest.raises(DfmlError, match="not finite"):
        adapt(meta_generator(keep="final", steps=1), asked=poisoned("gradient", 1))


@pytest.mark.parametrize(("keep", "steps", "expected"), [("best", 5, 5), ("pre_last", 2, 2), ("final", 5, 6)])
@pytest.mark.parametrize("rule", RULES)
def test_passes_through_generator_and_teacher(rule, keep, steps, expected):
    model = random_model()
    passes = Counter()

    def count(module, inputs, output):
        passes["generator"] += isinstance(module, Generator)
        passes["teacher"] += module is model.network

    five = meta_generator(keep=keep, steps=steps, outer_rule=rule)
    hook = register_module_forward_hook(count)
    try:
        adapt(five, model)
    finally:
        hook.remove()
    assert passes == {"generator": expected, "teacher": steps}


def test_single_precision_agrees_with_double():
    single, double = (adapt(meta_generator(dtype=d), linear_model(dtype=d))[0] for d in (torch.float32, torch.float64))
    assert single.images.dtype == torch.float32
    assert torch.allclose(single.curve.double(), double.curve, rtol=1e-3)


def test_latents_have_a_learning_rate_of_their_own():
    still, moved = (adapt(meta_generator(latent_learning_rate=rate))[0] for rate in (1e-30, 0.1))
    assert torch.equal(still.curve[0], moved.curve[0])
    assert not torch.allclose(still.curve[1], moved.curve[1])
