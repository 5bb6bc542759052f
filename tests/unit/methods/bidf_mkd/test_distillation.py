"""Bi-level distillation against finite differences, and against its two loops written out."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from dfml.inversion.objective import Views
from dfml.metalearning.distillation import distillation_loss
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.bidf_mkd.distillation import BilevelDistillation
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from dfml.zoo.access import LogitsOnly
from support.inversion import recovered
from support.learners import encoder, generator
from support.zoo import SIDE, WAYS, random_model

DOUBLE = torch.float64


def smooth_network():
    """A small learner without kinks, batch norm included, so that differences of the loss are true derivatives."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 4, 3, stride=4),
        EpisodicBatchNorm2d(4, episodic=True),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, WAYS),
    ]
    return nn.Sequential(*layers).to(DOUBLE)


def model_and_sets(dtype=DOUBLE, **facts):
    model = random_model(dtype=dtype, **facts)
    return model, *(
        recovered(model, torch.rand(2 * WAYS, 3, SIDE, SIDE, dtype=dtype, generator=generator(seed))) for seed in (1, 2)
    )


def distillation(network, parameters, *, padding=1, **changes):
    options = {"steps": 3, "learning_rate": 0.3, "first_order": False, "loss": "kl"}
    return BilevelDistillation(network, parameters, Views(padding, per_sample=True), **(options | changes))


def task(network, parameters, support, query, **changes):
    own, draws = distillation(network, parameters, **changes), generator(0)
    return own.outer(own.inner(support, draws), query, draws)


@pytest.mark.parametrize("loss", ["kl", "linear_prob"])
def test_the_gradient_through_the_inner_loop_is_that_of_finite_differences(loss):
    network = smooth_network()
    parameters = parameters_of(network)
    _, support, query = model_and_sets()
    gradients = task(network, parameters, support, query, loss=loss).gradients

    def value(direction, length):
        moved = {n: (p + length * direction[n]).detach().requires_grad_() for n, p in parameters.items()}
        return task(network, moved, support, query, loss=loss).loss.item()

    for seed in range(5):
        direction = {n: torch.randn(p.shape, dtype=DOUBLE, generator=generator(seed)) for n, p in parameters.items()}
        slope = sum((gradients[n] * direction[n]).sum() for n in parameters).item()
        differences = (value(direction, 1e-5) - value(direction, -1e-5)) / 2e-5
        assert slope == pytest.approx(differences, rel=1e-5)


def test_without_second_derivatives_it_is_the_gradient_where_the_inner_loop_ends():
    network = encoder().to(DOUBLE)
    parameters = parameters_of(network)
    model, support, query = model_and_sets()
    own = distillation(network, parameters, padding=0, first_order=True)
    adapted = own.inner(support, generator(0))
    found = own.outer(adapted, query, generator(0))

    end = {name: p.detach() for name, p in parameters.items()}
    for _ in range(3):
        end = {name: p.requires_grad_() for name, p in end.items()}
        student = functional_call(network, end, (model.inputs(support.images),))
        distance = distillation_loss(student, model.logits(support.images), "kl")
        slopes = torch.autograd.grad(distance, list(end.values()))
        end = {n: (p - 0.3 * g).detach() for (n, p), g in zip(end.items(), slopes, strict=True)}
    end = {name: p.requires_grad_() for name, p in end.items()}
    logits = functional_call(network, end, (model.inputs(query.images),))
    loss = distillation_loss(logits, model.logits(query.images), "kl")
    torch.testing.assert_close(found.loss, loss.detach())
    assert found.accuracy == (logits.argmax(1) == query.targets).float().mean()
    for (name, gradient), expected in zip(
        found.gradients.items(), torch.autograd.grad(loss, list(end.values())), strict=True
    ):
        torch.testing.assert_close(gradient, expected, msg=name)
    exact = task(network, parameters, support, query, padding=0).gradients
    assert any(not torch.allclose(exact[n], g, rtol=1e-3) for n, g in found.gradients.items())


def test_the_inner_loop_comes_closer_and_leaves_the_start():
    network = encoder()
    parameters = parameters_of(network)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    _, support, _ = model_and_sets(torch.float32)
    losses = []
    for steps in (1, 10):
        own = distillation(network, parameters, padding=0, steps=steps, learning_rate=0.05)
        adapted = own.inner(support, generator(0))
        losses.append(own.outer(adapted, support, generator(0)).loss)
    assert losses[1] < 0.8 * losses[0]
    assert all(torch.equal(parameters[name], value) for name, value in before.items())


def test_the_published_distance_hardly_moves_the_learner():
    network = encoder()
    parameters = parameters_of(network)
    _, support, _ = model_and_sets(torch.float32)
    moved = {}
    for loss in ("kl", "linear_prob"):
        end = distillation(network, parameters, padding=0, steps=10, learning_rate=0.01, loss=loss).inner(
            support, generator(0)
        )
        moved[loss] = sum((end[n] - p).square().sum() for n, p in parameters.items()).sqrt()
    assert moved["kl"] > 8 * moved["linear_prob"]


def test_the_published_gradient_is_forty_times_weaker_on_random_logits():
    ratios = []
    for seed in range(20):
        teacher, student = 2 * torch.randn(2, 150, 5, dtype=DOUBLE, generator=generator(seed))
        student.requires_grad_()
        losses = [distillation_loss(student, teacher, kind) for kind in ("kl", "linear_prob")]
        norms = [torch.autograd.grad(loss, student)[0].norm() for loss in losses]
        ratios.append((norms[0] / norms[1]).item())
    assert sum(ratios) / 20 == pytest.approx(40, rel=0.1)


def test_the_model_is_only_asked_and_every_batch_is_counted():
    model, support, query = model_and_sets(torch.float32)
    sealed = LogitsOnly(model.network)
    support, query = (replace(item, model=model.carrying(sealed)) for item in (support, query))
    network = encoder()
    own, draws = distillation(network, parameters_of(network), steps=4), generator(0)
    own.outer(own.inner(support, draws), query, draws)
    assert own.teacher_passes == 5
    assert sealed.queries == own.teacher_passes * len(support.images)
