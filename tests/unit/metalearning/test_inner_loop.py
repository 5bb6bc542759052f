"""The inner loop against torch's own optimiser, and the meta-gradient against finite differences."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from dfml.metalearning.episode_forms import GROUPED, ONE_BY_ONE
from dfml.metalearning.inner_loop import adapt, parameters_of
from dfml.metalearning.meta_gradient import meta_gradient, set_gradients
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from support.learners import WAYS, encoder, generator

RATE, STEPS = 0.1, 5
META = {"ways": WAYS, "steps": STEPS, "learning_rate": RATE}


@pytest.fixture
def network():
    """A smooth network, so that differences converge; with batch norm, as the real one."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1),
        EpisodicBatchNorm2d(2, episodic=True),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(2 * 4 * 4, WAYS),
    ).double()


@pytest.fixture
def conv4():
    return encoder().double()


def episodes(count, side=4, shots=2, queries=3):
    draws = generator(1)
    return (
        torch.randn(count, WAYS * shots, 3, side, side, dtype=torch.float64, generator=draws),
        torch.randn(count, WAYS * queries, 3, side, side, dtype=torch.float64, generator=draws),
    )


def labels(images):
    return torch.arange(WAYS).repeat_interleave(len(images) // WAYS)


def test_adaptation_equals_sgd_on_a_copy_of_the_module(network):
    support = episodes(1)[0][0]
    copied = copy.deepcopy(network)
    optimiser = torch.optim.SGD(copied.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        F.cross_entropy(copied(support), labels(support)).backward()
        optimiser.step()
    start = parameters_of(network)
    for first_order in (True, False):
        adapted = adapt(
            network, start, support, labels(support), steps=STEPS, learning_rate=RATE, first_order=first_order
        )
        assert list(adapted) == list(start)
        for name, expected in copied.named_parameters():
            torch.testing.assert_close(adapted[name], expected, rtol=0, atol=1e-10)


def test_adaptation_leaves_network_and_parameters_as_they_were(network):
    support = episodes(1)[0][0]
    start = parameters_of(network)
    before = {name: p.detach().clone() for name, p in start.items()}
    answer = functional_call(network, start, (support,)).detach()
    adapted = adapt(network, start, support, labels(support), steps=STEPS, learning_rate=RATE)
    for name, own in network.named_parameters():
        assert torch.equal(start[name], before[name]) and torch.equal(own, before[name])
        assert start[name].grad is None and own.grad is None
    assert not torch.equal(adapted["4.weight"], before["4.weight"])
    assert torch.equal(functional_call(network, start, (support,)), answer)


def test_parameters_are_copies(network):
    start = parameters_of(network)
    own = {p.data_ptr() for p in network.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in start.values())
    assert all(p.requires_grad and p.is_leaf for p in start.values())


def test_second_order_meta_gradient_matches_central_differences(network):
    support, query = episodes(2)
    start = parameters_of(network)
    found = meta_gradient(network, start, support, query, first_order=False, **META).gradients
    draws, step = generator(2), 1e-5
    for _ in range(4):
        direction = {n: torch.randn(p.shape, dtype=p.dtype, generator=draws) for n, p in start.items()}
        ahead, behind = (
            # The order concerns the gradient alone; the loss is the same function.
            meta_gradient(network, moved, support, query, first_order=True, **META).loss
            for moved in (_moved(start, direction, step), _moved(start, direction, -step))
        )
        slope = sum((found[n] * direction[n]).sum() for n in start)
        assert slope.item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=1e-4)


def _moved(start, direction, step):
    return {n: (p + step * direction[n]).detach().requires_grad_() for n, p in start.items()}


def test_first_order_meta_gradient_is_the_gradient_at_the_adapted_weights(network):
    support, query = episodes(2)
    start = parameters_of(network)
    result = meta_gradient(network, start, support, query, first_order=True, **META)
    expected, losses, accuracies = [], [], []
    for own_support, own_query in zip(support, query, strict=True):
        adapted = adapt(network, start, own_support, labels(own_support), steps=STEPS, learning_rate=RATE)
        leaves = {name: p.detach().requires_grad_() for name, p in adapted.items()}
        logits = functional_call(network, leaves, (own_query,))
        losses.append(F.cross_entropy(logits, labels(own_query)))
        accuracies.append((logits.argmax(1) == labels(own_query)).double().mean().item())
        expected.append(torch.autograd.grad(losses[-1], list(leaves.values())))
    torch.testing.assert_close(result.loss, torch.stack(losses).mean().detach())
    assert result.accuracy.item() == pytest.approx(sum(accuracies) / 2)
    for name, parts in zip(start, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(result.gradients[name], sum(parts) / 2, rtol=1e-9, atol=1e-12)
    second = meta_gradient(network, start, support, query, first_order=False, **META)
    assert not torch.allclose(second.gradients["4.weight"], result.gradients["4.weight"], rtol=1e-3)


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_batched_episodes_give_the_same_as_one_after_another(conv4, first_order, reduce):
    support, query = episodes(3, side=16)
    start = parameters_of(conv4)
    one, many = (
        meta_gradient(conv4, start, support, query, first_order=first_order, reduce=reduce, form=form, **META)
        for form in (ONE_BY_ONE, GROUPED)
    )
    torch.testing.assert_close(many.loss, one.loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(many.accuracy, one.accuracy)
    norm = torch.stack([g.norm() for g in one.gradients.values()]).norm()
    for name, gradient in one.gradients.items():
        torch.testing.assert_close(many.gradients[name], gradient, rtol=1e-5, atol=1e-10 * norm.item())


@pytest.mark.parametrize("first_order", [True, False])
def test_threads_share_the_episodes_and_change_no_bit(conv4, first_order):
    support, query = episodes(5, side=16)
    start = parameters_of(conv4)
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(meta_gradient(conv4, start, support, query, first_order=first_order, **META))
        finally:
            torch.set_num_threads(before)
    one, several = found
    assert torch.equal(one.loss, several.loss) and torch.equal(one.accuracy, several.accuracy)
    assert all(torch.equal(one.gradients[name], gradient) for name, gradient in several.gradients.items())


def test_sum_and_mean_differ_by_the_number_of_episodes(network):
    support, query = episodes(3)
    start = parameters_of(network)
    mean, total = (
        meta_gradient(network, start, support, query, first_order=False, reduce=reduce, **META)
        for reduce in ("mean", "sum")
    )
    torch.testing.assert_close(total.loss, 3 * mean.loss)
    torch.testing.assert_close(total.accuracy, mean.accuracy)
    for name in start:
        torch.testing.assert_close(total.gradients[name], 3 * mean.gradients[name])


def test_gradients_are_handed_to_an_optimiser(network):
    start = parameters_of(network)
    optimiser = torch.optim.SGD(start.values(), lr=1.0)
    set_gradients(start, {name: torch.ones_like(p) for name, p in start.items()})
    optimiser.step()
    for name, own in network.named_parameters():
        torch.testing.assert_close(start[name], own - 1)
