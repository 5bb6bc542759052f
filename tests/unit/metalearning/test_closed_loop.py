"""The inner loop by closed forms against the one by autograd, before and after it is traced."""

import pytest
import torch

from dfml.compute import traced
from dfml.metalearning.closed_loop import both_features, can_loop, grid_of
from dfml.metalearning.inner_loop import adapt, fine_tuned, fine_tuned_head, parameters_of
from dfml.metalearning.meta_gradient import meta_gradient
from dfml.networks.batch_norm import statistics_of_first
from dfml.networks.conv4_passes import weights_of
from support.learners import SPEC, WAYS, encoder, generator
from support.zoo import SIDE

INNER = {"steps": 3, "learning_rate": 0.1}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Traced from the third call on."""
    monkeypatch.setattr(traced, "CALLS_BEFORE", 2)


@pytest.fixture(params=[{}, {"side": None}, {"side": None, "grid": 2}], ids=["own side", "any side", "a grid of four"])
def form(request):
    return encoder(spec=SPEC.model_copy(update=request.param)).double()


def images(count, seed=1):
    drawn = torch.randn(count, 3, SIDE, SIDE, dtype=torch.float64, generator=generator(seed))
    return drawn.contiguous(memory_format=torch.channels_last)


def labels(count):
    return torch.arange(WAYS).repeat_interleave(count // WAYS)


def test_fine_tuned_weights_are_those_of_adapt(form):
    start, support = parameters_of(form), images(2 * WAYS)
    expected = adapt(form, start, support, labels(2 * WAYS), **INNER)
    for _ in range(4):
        found = fine_tuned(form, start, support, labels(2 * WAYS), **INNER)
        assert list(found) == list(expected)
        for name, own in found.items():
            assert not own.requires_grad
            torch.testing.assert_close(own, expected[name].detach(), rtol=1e-10, atol=1e-12)


def test_a_fine_tuned_head_is_that_of_adapt(form):
    start, support = parameters_of(form), images(2 * WAYS)
    expected = adapt(form, start, support, labels(2 * WAYS), head_only=True, **INNER)
    with torch.no_grad():
        found = fine_tuned_head(form.head, form.features(support), labels(2 * WAYS), **INNER)
    for name, own in found.items():
        torch.testing.assert_close(own, expected[name].detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("first_order", [True, False])
def test_tracing_changes_no_bit_of_a_meta_gradient(form, first_order):
    start = parameters_of(form)
    support, query = (images(n * WAYS, seed)[None] for n, seed in ((1, 2), (4, 3)))
    found = [meta_gradient(form, start, support, query, ways=WAYS, first_order=first_order, **INNER) for _ in range(6)]
    for later in found[1:]:
        assert torch.equal(later.loss, found[0].loss) and torch.equal(later.accuracy, found[0].accuracy)
        assert all(torch.equal(g, found[0].gradients[name]) for name, g in later.gradients.items())


@pytest.mark.parametrize("together", [True, False])
def test_features_are_the_networks_under_both_sources_of_statistics(form, together):
    all_images, support = images(7), 3
    weights = weights_of(dict(form.named_parameters()))
    with torch.no_grad():
        transductive = form.features(all_images[0 if together else support :])
        with statistics_of_first(form, support):
            by_support = form.features(all_images)
    for _ in range(4):
        found = both_features(all_images, weights, support=support, together=together, grid=grid_of(form))
        torch.testing.assert_close(found[0], by_support, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found[1], transductive, rtol=1e-10, atol=1e-10)


def test_a_gpu_and_other_networks_do_without():
    assert can_loop(encoder(), torch.device("cpu")) and not can_loop(encoder(), torch.device("cuda"))
    assert not can_loop(torch.nn.Linear(2, 2), torch.device("cpu"))
    assert grid_of(encoder()) == 0 and grid_of(encoder(spec=SPEC.model_copy(update={"side": None, "grid": 2}))) == 2
