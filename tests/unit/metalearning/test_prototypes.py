"""ProtoNet's step against the definition (IF10), and ANIL's inner loop (IF11)."""

import pytest
import torch
import torch.nn.functional as F

from dfml.compute.optimisers import SGD
from dfml.metalearning.episode_forms import ALL, GROUPED, ONE_BY_ONE, EpisodeForm
from dfml.metalearning.inner_loop import adapt, parameters_of
from dfml.metalearning.meta_gradient import meta_gradient
from dfml.metalearning.prototypes import PrototypeStep
from support.learners import SIDE, WAYS, encoder, generator, learner, task

RATE = 0.1


def episodes(count, shots=2, queries=3, dtype=torch.float64):
    draws = generator(1)
    return tuple(torch.randn(count, WAYS * n, 3, SIDE, SIDE, dtype=dtype, generator=draws) for n in (shots, queries))


def by_hand(network, support, query):
    """Loss and accuracy of one episode: minus the squared distance of every query to every class mean."""
    features = network.features(torch.cat([support, query]))
    prototypes = torch.stack([own.mean(0) for own in features[: len(support)].split(len(support) // WAYS)])
    logits = torch.stack([-(prototypes - z).square().sum(1) for z in features[len(support) :]])
    labels = torch.arange(WAYS).repeat_interleave(len(query) // WAYS)
    return F.cross_entropy(logits, labels), (logits.argmax(1) == labels).double().mean()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_step_descends_the_loss_of_the_definition(threads):
    network = encoder().double()
    support, query = episodes(3)
    parameters = parameters_of(network)
    torch.set_num_threads(threads)  # the fixture around every test puts it back
    step = PrototypeStep(network, parameters, SGD([list(parameters.values())], [RATE]), ways=WAYS)
    loss, accuracy = step(support, query)
    found = [by_hand(network, s, q) for s, q in zip(support, query, strict=True)]
    expected = torch.stack([own for own, _ in found]).mean()
    torch.testing.assert_close(loss, expected.detach(), check_dtype=False)
    torch.testing.assert_close(accuracy, torch.stack([own for _, own in found]).mean(), check_dtype=False)
    body = [(name, p) for name, p in network.named_parameters() if not name.startswith("head.")]
    for (name, p), gradient in zip(body, torch.autograd.grad(expected, [p for _, p in body]), strict=True):
        torch.testing.assert_close(parameters[name].detach(), (p - RATE * gradient).detach(), rtol=1e-8, atol=1e-10)
    for name in ("head.weight", "head.bias"):
        assert torch.equal(parameters[name], dict(network.named_parameters())[name])


def test_the_inner_loop_of_anil_moves_the_head_alone():
    network = encoder().double()
    support, _ = episodes(1)
    start = parameters_of(network)
    labels = torch.arange(WAYS).repeat_interleave(2)
    options = {"steps": 3, "learning_rate": RATE}
    adapted = adapt(network, start, support[0], labels, head_only=True, **options)
    assert list(adapted) == list(start)
    for name, p in start.items():
        assert torch.equal(adapted[name], p) == (not name.startswith("head."))
    # The same as plain gradient descent on the head over frozen features.
    features = network.features(support[0]).detach()
    weight, bias = (p.detach().clone().requires_grad_() for p in (network.head.weight, network.head.bias))
    for _ in range(3):
        gradients = torch.autograd.grad(F.cross_entropy(F.linear(features, weight, bias), labels), [weight, bias])
        weight, bias = (p - RATE * g for p, g in zip((weight, bias), gradients, strict=True))
    torch.testing.assert_close(adapted["head.weight"], weight)
    torch.testing.assert_close(adapted["head.bias"], bias)


@pytest.mark.parametrize("form", [ONE_BY_ONE, GROUPED, EpisodeForm("autograd", ALL)])
def test_the_meta_gradient_of_anil_reaches_the_body(form):
    network = encoder().double()
    support, query = episodes(2)
    start = parameters_of(network)
    options = {"ways": WAYS, "steps": 2, "learning_rate": RATE, "first_order": False, "head_only": True}
    found = meta_gradient(network, start, support, query, form=form, **options).gradients
    draws, size = generator(2), 1e-6
    direction = {n: torch.randn(p.shape, dtype=p.dtype, generator=draws) for n, p in start.items()}
    ends = []
    for sign in (1, -1):
        moved = {n: (p + sign * size * direction[n]).detach().requires_grad_() for n, p in start.items()}
        ends.append(meta_gradient(network, moved, support, query, form=form, **options).loss)
    slope = sum((found[n] * direction[n]).sum() for n in start)
    assert slope.item() == pytest.approx(((ends[0] - ends[1]) / (2 * size)).item(), rel=1e-3)


def test_a_learner_of_anil_keeps_its_features():
    support, labels, _, _ = task()
    own = learner(encoder())
    own.head_only = True
    adapted = own.finetuned(own.prepare(support), labels)
    for name, p in own.encoders[0].named_parameters():
        assert torch.equal(adapted[name], p) == (not name.startswith("head."))
