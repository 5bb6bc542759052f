"""Distillation with one head per model: its loss, what it trains, its schedule, its resumption."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from dfml.compute.state import collect, restore
from dfml.methods.heads.distillation import WARMUP_STEPS, HeadsDistillation
from dfml.methods.heads.questions import ABSENT, Questions
from dfml.methods.heads.settings import HeadsSettings
from support.learners import SPEC, encoder, generator
from support.zoo import SIDE, WAYS

MODELS, QUESTIONS = 3, 24
CONVOLUTIONS = [f"blocks.{4 * block}" for block in range(4)]
AVERAGED = {"averaging": 8.0}


def make(*, backbone=None, settings=None, mean=None, std=None, answers=None, **among):
    draws = generator(0)
    images = torch.randint(0, 256, (QUESTIONS, 3, SIDE, SIDE), dtype=torch.uint8, generator=draws)
    drawn = 3 * torch.randn(MODELS, QUESTIONS, WAYS, generator=draws)
    each = (QUESTIONS, 3)
    return HeadsDistillation(
        backbone or encoder(),
        Questions(
            images,
            torch.full(each, 0.5) if mean is None else mean,
            torch.full(each, 0.25) if std is None else std,
        ),
        drawn if answers is None else answers,
        HeadsSettings(**({"steps": 40, "batch_size": 12} | (settings or {}))),
        generator=generator(1),
        **among,
    ), drawn


def by_hand(distillation, answers, rows, *, temperature=1.0, weights=None):
    """The mean over models and questions of what :mod:`torch.distributions` calls the divergence."""
    asked = distillation.questions.images[rows] / 255
    features = distillation.backbone.features((asked - 0.5) / 0.25)
    divergences = []
    for model in range(MODELS):
        outputs = slice(model * WAYS, (model + 1) * WAYS)
        own = features @ distillation.weights[outputs].T + distillation.biases[outputs]
        teacher, student = (Categorical(logits=x / temperature) for x in (answers[model][rows], own))
        divergences.append(kl_divergence(teacher, student))
    found = torch.stack(divergences) * temperature**2
    return (found if weights is None else found * weights[:, rows]).mean().detach()


def rows_of_a_step(distillation):
    draws = generator(1)
    draws.set_state(distillation.generator.get_state())
    return torch.randint(0, QUESTIONS, (12,), generator=draws)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_the_mean_divergence_of_each_head_from_its_model(temperature):
    distillation, answers = make(settings={"temperature": temperature})
    expected = by_hand(distillation, answers, rows_of_a_step(distillation), temperature=temperature)
    torch.testing.assert_close(distillation.step(), expected, rtol=1e-4, atol=1e-5)


def test_balance_gives_every_answer_of_a_model_the_same_weight_in_sum():
    distillation, answers = make(settings={"balance": True})
    chosen, weights = answers.argmax(2), torch.empty(MODELS, QUESTIONS)
    for model in range(MODELS):
        counts = chosen[model].bincount(minlength=WAYS)
        weights[model] = 1 / counts[chosen[model]]
        weights[model] *= QUESTIONS / weights[model].sum()
        sums = torch.stack([weights[model][chosen[model] == answer].sum() for answer in chosen[model].unique()])
        torch.testing.assert_close(sums, sums[0].expand_as(sums))
    expected = by_hand(distillation, answers, rows_of_a_step(distillation), weights=weights)
    torch.testing.assert_close(distillation.step(), expected, rtol=1e-4, atol=1e-5)
    plain, _ = make()
    assert plain.step() != expected


def test_averaging_ends_with_the_moving_average_of_the_weights():
    distillation, _ = make(settings={"averaging": 1.0, "learning_rate": 0.01})
    visited = []
    for _ in range(5):
        distillation.step()
        visited.append([p.detach().clone() for p in distillation.body])
    average = [sum(k * p for k, p in enumerate(own, 1)) / 15 for own in zip(*visited, strict=True)]
    last = [p.detach().clone() for p in distillation.body]
    distillation.finish()
    for own, expected in zip(distillation.body, average, strict=True):
        torch.testing.assert_close(own.detach(), expected)
    assert any(not torch.equal(own, moved) for own, moved in zip(distillation.body, last, strict=True))
    plain, _ = make()
    plain.step()
    before = [p.detach().clone() for p in plain.body]
    plain.finish()
    assert all(map(torch.equal, plain.body, before))


@pytest.mark.parametrize("side", [SIDE, None])
def test_closed_forms_give_the_gradient_of_autograd(side):
    """Of a Conv4 on a CPU, in double precision; biases of convolutions, without effect, have none."""
    settings = {"temperature": 2.0, "balance": True}
    distillation, _ = make(backbone=encoder(spec=SPEC.model_copy(update={"side": side})).double(), settings=settings)
    assert distillation._closed
    draws = generator(3)
    inputs = torch.randn(12, 3, SIDE, SIDE, generator=draws, dtype=torch.float64)
    targets = distillation.targets[:12].double().log_softmax(2)
    weighting = distillation.weighting[:12].double()
    distillation.weights, distillation.biases = (
        t.detach().double().requires_grad_() for t in (distillation.weights, distillation.biases)
    )
    distillation.optimiser.groups = [[*distillation.body, distillation.weights, distillation.biases]]
    loss, expected = distillation._by_autograd(inputs, targets, weighting, None)
    own_loss, found = distillation._by_closed_forms(inputs, targets, weighting)
    torch.testing.assert_close(own_loss, loss, rtol=1e-12, atol=1e-12)
    by_closed_forms = {id(p): gradient for p, gradient in found}
    left_out = [gradient for p, gradient in expected if id(p) not in by_closed_forms]
    assert len(left_out) == 4 and all(gradient.abs().max() < 1e-12 for gradient in left_out)
    _, expected = distillation._by_autograd(inputs, targets, weighting, None)
    for parameter, gradient in expected:
        if id(parameter) in by_closed_forms:
            torch.testing.assert_close(by_closed_forms[id(parameter)], gradient, rtol=1e-9, atol=1e-11)


def test_every_question_has_its_own_normalisation():
    draws = generator(2)
    mean, std = torch.rand(QUESTIONS, 3, generator=draws), 0.1 + torch.rand(QUESTIONS, 3, generator=draws)
    distillation, _ = make(mean=mean, std=std)
    rows = rows_of_a_step(distillation)
    seen = []
    lesson = distillation._by_closed_forms
    distillation._by_closed_forms = lambda inputs, *rest: seen.append(inputs) or lesson(inputs, *rest)
    distillation.step()
    asked = distillation.questions.images[rows] / 255
    for image, question, own_mean, own_std in zip(seen[0], asked, mean[rows], std[rows], strict=True):
        torch.testing.assert_close(image, (question - own_mean[:, None, None]) / own_std[:, None, None])


def test_body_and_heads_are_trained_and_the_learners_own_head_is_not():
    backbone = encoder()
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    distillation, _ = make(backbone=backbone)
    heads = distillation.weights.detach().clone()
    for _ in range(2):
        distillation.step()
    for name, parameter in backbone.named_parameters():
        without_effect = name.startswith("blocks.") and name.removesuffix(".bias") in CONVOLUTIONS
        assert torch.equal(parameter, before[name]) == (name.startswith("head.") or without_effect)
    assert not torch.equal(distillation.weights, heads)


def test_the_loss_falls():
    distillation, _ = make(settings={"learning_rate": 0.02, "batch_size": 24, "steps": 100})
    losses = [distillation.step().item() for _ in range(100)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_rate_rises_and_then_falls_as_a_cosine():
    distillation, _ = make(settings={"learning_rate": 0.01, "steps": 100})
    rates = []
    for _ in range(100):
        distillation.step()
        rates.append(distillation.optimiser.rates[0])
    assert rates[0] == pytest.approx(0.01 / WARMUP_STEPS)
    assert max(rates) == rates[WARMUP_STEPS - 1]
    assert rates[50] == pytest.approx(0.01 * (1 + math.cos(math.pi * 0.5)) / 2)
    assert rates[-1] < 1e-5


def test_a_resumed_distillation_continues_bit_for_bit():
    straight, _ = make(settings=AVERAGED)
    expected = [straight.step() for _ in range(5)]
    first, _ = make(settings=AVERAGED)
    for _ in range(3):
        first.step()
    second, _ = make(backbone=encoder(7), settings=AVERAGED)
    with torch.no_grad():
        for name in ("head.weight", "head.bias"):
            second.backbone.get_parameter(name).copy_(encoder().get_parameter(name))
    restore(second, collect(first))
    assert second.steps_done == 3
    assert [second.step().item() for _ in range(2)] == [loss.item() for loss in expected[3:]]
    for own in (straight, second):
        own.finish()
    for name, parameter in straight.backbone.named_parameters():
        assert torch.equal(second.backbone.get_parameter(name), parameter)


def test_models_of_fewer_classes_have_heads_of_fewer_outputs():
    """The same loss as if every model had a distillation of its own; outputs that a model lacks stay out of it."""
    _, full = make()
    fewer = full.clone()
    fewer[1, :, 2:] = ABSENT
    distillation, _ = make(answers=fewer)
    rows = rows_of_a_step(distillation)
    asked = distillation.questions.images[rows] / 255
    features = distillation.backbone.features((asked - 0.5) / 0.25).detach()
    wanted = []
    for number, ways in enumerate((WAYS, 2, WAYS)):
        outputs = slice(number * WAYS, number * WAYS + ways)
        own = features @ distillation.weights[outputs].T + distillation.biases[outputs]
        pair = (Categorical(logits=x) for x in (full[number][rows][:, :ways], own))
        wanted.append(kl_divergence(*pair))
    lacking = distillation.weights[WAYS + 2 : 2 * WAYS].detach().clone()
    torch.testing.assert_close(distillation.step(), torch.stack(wanted).mean().detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(distillation.weights[WAYS + 2 : 2 * WAYS], lacking)
    assert WAYS > 2


def of_some(answers, who, **options):
    """A distillation on the answers of ``who`` ``[n, count]`` among ``answers`` ``[models, n, ways]``."""
    chosen = answers[who.T, torch.arange(len(who))]
    return make(answers=chosen, who=who, models=len(answers), **options)[0]


OF_SOME = {"temperature": 2.0, "balance": True}


def test_when_all_are_asked_it_matters_not_that_each_question_says_so():
    whole, answers = make(settings=OF_SOME)
    everybody = torch.stack([torch.randperm(MODELS, generator=generator(row)) for row in range(QUESTIONS)])
    some = of_some(answers, everybody, settings=OF_SOME)
    before = whole.weights.detach().clone()
    for _ in range(3):
        torch.testing.assert_close(some.step(), whole.step(), rtol=1e-4, atol=1e-5)
    moved = (whole.weights - before).abs().mean()
    # On the average, for Adam makes much of the rounding of a gradient that is nearly zero.
    assert (some.weights - whole.weights).abs().mean() < 0.01 * moved


def test_each_question_teaches_the_heads_of_its_models_alone():
    _, answers = make()
    who = torch.randint(0, MODELS - 1, (QUESTIONS, 1), generator=generator(3))  # nobody asks the last one
    distillation = of_some(answers, who)
    rows = rows_of_a_step(distillation)
    features = distillation.backbone.features((distillation.questions.images[rows] / 255 - 0.5) / 0.25).detach()
    wanted = []
    for feature, row in zip(features, rows.tolist(), strict=True):
        model = int(who[row])
        outputs = slice(model * WAYS, (model + 1) * WAYS)
        own = distillation.weights[outputs] @ feature + distillation.biases[outputs]
        wanted.append(kl_divergence(Categorical(logits=answers[model, row]), Categorical(logits=own)))
    untouched = distillation.weights[-WAYS:].detach().clone()
    torch.testing.assert_close(distillation.step(), torch.stack(wanted).mean().detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(distillation.weights[-WAYS:], untouched)


def test_balance_is_over_the_questions_that_a_model_was_asked():
    _, answers = make()
    who = torch.stack([torch.randperm(MODELS, generator=generator(row))[:2] for row in range(QUESTIONS)])
    weighting = of_some(answers, who, settings={"balance": True}).weighting
    for model in range(MODELS):
        asked, place = (who == model).nonzero(as_tuple=True)
        weights, chosen = weighting[asked, place], answers[model, asked].argmax(1)
        assert weights.mean().item() == pytest.approx(1.0, abs=1e-5)
        sums = torch.stack([weights[chosen == answer].sum() for answer in chosen.unique()])
        torch.testing.assert_close(sums, sums[0].expand_as(sums))


def test_outputs_that_a_model_lacks_stay_out_where_each_question_has_its_own_models():
    _, full = make()
    fewer = full.clone()
    fewer[1, :, 2:] = ABSENT
    distillation = of_some(fewer, torch.tensor([[1, 2]] * QUESTIONS))
    lacking = distillation.weights[WAYS + 2 : 2 * WAYS].detach().clone()
    assert distillation.step().isfinite()
    assert torch.equal(distillation.weights[WAYS + 2 : 2 * WAYS], lacking)
