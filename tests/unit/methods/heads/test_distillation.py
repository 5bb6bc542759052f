"""Distillation with one head per model: its loss, what it trains, its schedule, its resumption."""

import math

import pytest
import torch
import torch.nn.functional as F

from dfml.compute.state import collect, restore
from dfml.methods.heads.distillation import WARMUP_STEPS, HeadsDistillation
from dfml.methods.heads.settings import HeadsSettings
from support.learners import encoder, generator
from support.zoo import SIDE, WAYS

MODELS, QUESTIONS = 3, 24


def make(*, backbone=None, settings=None, crop_padding=0, mean=None, std=None):
    draws = generator(0)
    questions = torch.rand(QUESTIONS, 3, SIDE, SIDE, generator=draws)
    answers = 3 * torch.randn(MODELS, QUESTIONS, WAYS, generator=draws)
    return HeadsDistillation(
        backbone or encoder(),
        questions,
        answers,
        HeadsSettings(**({"steps": 40, "batch_size": 12} | (settings or {}))),
        crop_padding=crop_padding,
        mean=torch.full((3,), 0.5) if mean is None else mean,
        std=torch.full((3,), 0.25) if std is None else std,
        generator=generator(1),
    ), answers


def test_the_loss_is_the_mean_divergence_of_each_head_from_its_model():
    distillation, answers = make()
    draws = generator(1)
    draws.set_state(distillation.generator.get_state())
    rows = torch.randint(0, QUESTIONS, (12,), generator=draws)
    features = distillation.backbone.features((distillation.questions[rows] - 0.5) / 0.25)
    weights, biases = distillation.weights.detach().clone(), distillation.biases.detach().clone()
    divergences = []
    for model in range(MODELS):
        outputs = slice(model * WAYS, (model + 1) * WAYS)
        own = F.log_softmax(features @ weights[outputs].T + biases[outputs], 1)
        teacher = F.softmax(answers[model][rows], 1)
        divergences.append((teacher * (teacher.log() - own)).sum(1).mean())
    torch.testing.assert_close(distillation.step(), torch.stack(divergences).mean().detach(), rtol=1e-4, atol=1e-5)


def test_every_question_has_its_own_normalisation():
    draws = generator(2)
    mean, std = torch.rand(QUESTIONS, 3, generator=draws), 0.1 + torch.rand(QUESTIONS, 3, generator=draws)
    distillation, _ = make(mean=mean, std=std)
    questions = (distillation.questions - mean[:, :, None, None]) / std[:, :, None, None]
    beforehand, _ = make(mean=torch.zeros(3), std=torch.ones(3))
    beforehand.questions = questions
    for _ in range(3):
        torch.testing.assert_close(distillation.step(), beforehand.step())
    same, _ = make(mean=torch.full((QUESTIONS, 3), 0.5), std=torch.full((QUESTIONS, 3), 0.25))
    one_for_all, _ = make()
    assert [same.step().item() for _ in range(3)] == [one_for_all.step().item() for _ in range(3)]


def test_body_and_heads_are_trained_and_the_learners_own_head_is_not():
    backbone = encoder()
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    distillation, _ = make(backbone=backbone, crop_padding=2)
    heads = distillation.weights.detach().clone()
    for _ in range(2):
        distillation.step()
    for name, parameter in backbone.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("head.")
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
    straight, _ = make(crop_padding=2)
    expected = [straight.step() for _ in range(5)]
    first, _ = make(crop_padding=2)
    for _ in range(3):
        first.step()
    second, _ = make(crop_padding=2, backbone=encoder(7))
    with torch.no_grad():
        for name in ("head.weight", "head.bias"):
            second.backbone.get_parameter(name).copy_(encoder().get_parameter(name))
    restore(second, collect(first))
    assert second.steps_done == 3
    assert [second.step().item() for _ in range(2)] == [loss.item() for loss in expected[3:]]
    for name, parameter in straight.backbone.named_parameters():
        assert torch.equal(second.backbone.get_parameter(name), parameter)
