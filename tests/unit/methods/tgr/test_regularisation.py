"""The regularised step: its expansion (IF8) and its derivative, against autograd through the whole of it."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from dfml.compute.optimisers import Adam
from dfml.metalearning.distillation import distillation_loss
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.tgr.regularisation import RegularisedStep, TaughtSet
from support.learners import SPEC, encoder, generator
from support.zoo import SIDE, WAYS


def taught(count=3, side=SIDE):
    draws = generator(7)
    return [
        TaughtSet(
            torch.randn(6, 3, side, side, generator=draws, dtype=torch.float64),
            3 * torch.randn(6, WAYS, generator=draws, dtype=torch.float64),
            torch.arange(WAYS).repeat(2),
        )
        for _ in range(count)
    ]


def make(network, rate=1e-3, **changes):
    parameters = parameters_of(network)
    options = {"kd_loss": "kl", "ce_weight": 1.0, "displacement": 1e-4, "second_order": True}
    optimiser = Adam([list(parameters.values())], [rate])
    return RegularisedStep(network, parameters, optimiser, **(options | changes))


def loss_of(step, one, values):
    logits = functional_call(step.network, dict(zip(step.parameters, values, strict=True)), (one.inputs,))
    return distillation_loss(logits, one.teacher, step.kd_loss) + step.ce_weight * F.cross_entropy(logits, one.targets)


def gradients(step, sets, *, graph):
    values = list(step.parameters.values())
    return [torch.autograd.grad(loss_of(step, one, values), values, create_graph=graph) for one in sets]


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def penalty_gradient(step, sets):
    own = gradients(step, sets, graph=True)
    mean = [torch.stack(parts).mean(0) for parts in zip(*own, strict=True)]
    apart = [sum((g - m).square().sum() for g, m in zip(one, mean, strict=True)) for one in own]
    return flat(torch.autograd.grad(torch.stack(apart).mean(), list(step.parameters.values())))


@pytest.mark.parametrize(("second_order", "factor"), [(True, 1.0), (False, 0.5)])
def test_the_update_adds_the_gradient_of_the_disagreement(second_order, factor):
    step, sets = make(encoder().double(), second_order=second_order), taught()
    mean = torch.stack([flat(g) for g in gradients(step, sets, graph=False)]).mean(0)
    added = (flat(step.update(sets)[2]) - mean) / step.displacement
    expected = penalty_gradient(step, sets)
    scale = (added @ expected) / (expected @ expected)
    torch.testing.assert_close(scale.item(), factor, atol=1e-3, rtol=0)
    assert (added - factor * expected).norm() < 5e-3 * expected.norm()


@pytest.mark.parametrize("kd_loss", ["kl", "linear_prob"])
@pytest.mark.parametrize("second_order", [True, False])
def test_the_update_is_what_autograd_finds_through_the_displacement(second_order, kd_loss):
    step, sets = make(encoder().double(), second_order=second_order, kd_loss=kd_loss, displacement=0.05), taught()
    values = list(step.parameters.values())
    own = gradients(step, sets, graph=True)
    mean = [torch.stack(parts).mean(0) for parts in zip(*own, strict=True)]
    losses = []
    for one, gradient in zip(sets, own, strict=True):
        moves = [0.05 * (m - g) for m, g in zip(mean, gradient, strict=True)]
        moves = moves if second_order else [m.detach() for m in moves]
        losses.append(loss_of(step, one, [v - m for v, m in zip(values, moves, strict=True)]))
    expected = flat(torch.autograd.grad(torch.stack(losses).mean(), values))
    loss, disagreement, update = step.update(sets)
    torch.testing.assert_close(flat(update), expected)
    torch.testing.assert_close(loss, torch.stack([loss_of(step, one, values) for one in sets]).mean().detach())
    apart = [(flat(g) - flat(mean)).square().sum() for g in own]
    torch.testing.assert_close(disagreement, torch.stack(apart).mean())


def test_sets_of_one_model_are_not_displaced():
    step, one = make(encoder().double(), displacement=0.1), taught(1)[0]
    _, disagreement, update = step.update([one, one])
    assert disagreement < 1e-24
    torch.testing.assert_close(flat(update), flat(gradients(step, [one], graph=False)[0]))


def test_steps_learn_what_the_sets_teach():
    step, sets = make(encoder().double(), rate=0.02, displacement=1e-3), taught(1)
    losses = [step(sets)[0].item() for _ in range(30)]
    # What remains is the entropy that labels and teacher have against each other.
    one = sets[0]
    logits = one.teacher.clone().requires_grad_()
    optimiser = Adam([[logits]], [0.05])
    for _ in range(300):
        loss = distillation_loss(logits, one.teacher, "kl") + F.cross_entropy(logits, one.targets)
        logits.grad = torch.autograd.grad(loss, logits)[0]
        optimiser.step()
    assert losses[-1] - loss.item() < 0.3 * (losses[0] - loss.item())


def test_sets_may_come_in_any_order_and_side():
    network = encoder(spec=SPEC.model_copy(update={"side": None})).double()
    mixed = [*taught(2), *taught(2, side=2 * SIDE)]
    results = []
    for order in (mixed, mixed[::-1]):
        step = make(network)
        step(order)
        results.append(flat(step.parameters.values()))
    torch.testing.assert_close(*results, atol=1e-6, rtol=0)
