"""Closed forms of Conv4 against autograd, in float64: answers, gradients, products with the Hessian."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from dfml.artefacts.zoo import NetworkSpec
from dfml.networks import pieces
from dfml.networks.build import build_network
from dfml.networks.conv4_passes import (
    NAMES,
    Forward,
    backward,
    forward,
    has_closed_forms,
    hessian_product,
    weights_of,
)
from support.learners import generator

WAYS, WIDTH, IMAGES = 3, 4, 6
# Sides that pooling halves without a remainder and with one, and the form for any side.
FORMS = [(16, 0), (22, 0), (20, 1), (36, 2), (84, 2), (48, 3)]


def network(side, grid, *, family="conv4"):
    """An episodic network in float64; scales of both signs."""
    spec = NetworkSpec(family=family, width=WIDTH, ways=WAYS, side=None if grid else side, grid=grid or 1)
    built = build_network(spec, generator=generator(0), episodic=True).double()
    draws = generator(1)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.startswith("blocks") and parameter.ndim == 1:
                parameter.add_(4 * torch.rand(parameter.shape, dtype=torch.float64, generator=draws) - 2.5)
    scales = torch.cat([module.weight for module in built.modules() if isinstance(module, nn.BatchNorm2d)])
    assert (scales < 0).any() and (scales > 0).any()
    return built


def data(side):
    draws = generator(2)
    images = torch.randn(IMAGES, 3, side, side, dtype=torch.float64, generator=draws)
    return images.contiguous(memory_format=torch.channels_last), torch.randint(0, WAYS, (IMAGES,), generator=draws)


def loss_of(built, images, labels):
    """The loss as a function of the weights that the closed forms know."""
    fixed = dict(built.named_parameters())

    def loss(*weights):
        return F.cross_entropy(
            functional_call(built, fixed | dict(zip(NAMES, weights, strict=True)), (images,)), labels
        )

    return loss


def close(found, expected):
    for name, own, right in zip(NAMES, found, expected, strict=True):
        assert (own - right).norm() <= 1e-10 * right.norm(), name


@pytest.fixture(params=[0, 10**9], ids=["convolutions", "products"], autouse=True)
def as_products(request, monkeypatch):
    """Both ways to convolve, whatever the size."""
    monkeypatch.setattr(pieces, "VALUES_OF_A_PRODUCT", request.param)
    return request.param > 0


@pytest.mark.parametrize(("side", "grid"), FORMS)
def test_answers_are_the_networks(side, grid):
    built, (images, _) = network(side, grid), data(side)
    for given in (images, pieces.patches(images)):
        found = forward(images, given, weights_of(dict(built.named_parameters())), grid=grid)
        torch.testing.assert_close(found.logits, built(images).detach(), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(found.features, built.features(images).detach(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("side", "grid"), FORMS)
def test_gradients_and_products_with_the_hessian_are_those_of_autograd(side, grid):
    built, (images, labels) = network(side, grid), data(side)
    weights = weights_of(dict(built.named_parameters()))
    loss = loss_of(built, images, labels)
    draws = generator(3)
    direction = tuple(torch.randn(w.shape, dtype=w.dtype, generator=draws) for w in weights)
    state = forward(images, images, weights, grid=grid)
    back = backward(state, labels, weights, grid=grid)
    torch.testing.assert_close(back.loss, loss(*weights))
    close(back.gradient, torch.autograd.functional.vjp(loss, weights)[1])
    found = hessian_product(state, back, weights, direction, grid=grid)
    close(found, torch.autograd.functional.hvp(loss, weights, direction)[1])


def test_the_bias_of_a_convolution_is_rightly_left_out():
    built, (images, labels) = network(16, 0), data(16)
    gradients = torch.autograd.grad(F.cross_entropy(built(images), labels), list(built.parameters()))
    left_out = {name: g for (name, _), g in zip(built.named_parameters(), gradients, strict=True) if name not in NAMES}
    assert {name.split(".")[2] for name in left_out} == {"bias"} and len(left_out) == 4
    assert all(g.abs().max() < 1e-12 for g in left_out.values())


def test_a_scale_of_zero_gives_finite_numbers():
    built, (images, labels) = network(16, 0), data(16)
    with torch.no_grad():
        built.blocks[1].weight[0] = 0
    weights = weights_of(dict(built.named_parameters()))
    state = forward(images, images, weights)
    back = backward(state, labels, weights)
    product = hessian_product(state, back, weights, tuple(map(torch.ones_like, weights)))
    assert all(torch.isfinite(t).all() for t in (*back.gradient, *product))


def test_states_survive_as_plain_tuples():
    """As which a traced function returns them."""
    built, (images, labels) = network(16, 0), data(16)
    weights = weights_of(dict(built.named_parameters()))
    state = forward(images, images, weights)
    plain = (state.logits, state.features, tuple(tuple(block) for block in state.blocks))
    again, once = (backward(given, labels, weights).gradient for given in (plain, state))
    assert all(torch.equal(a, b) for a, b in zip(again, once, strict=True))
    assert isinstance(state, Forward)


def test_which_networks_have_closed_forms():
    spec = NetworkSpec(family="conv4", width=WIDTH, ways=WAYS, side=16)
    assert has_closed_forms(network(16, 0)) and has_closed_forms(network(16, 1))
    assert not has_closed_forms(build_network(spec))
    resnet = NetworkSpec(family="resnet10", width=WIDTH, ways=WAYS, side=None)
    assert not has_closed_forms(build_network(resnet, episodic=True))


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 3, 5, 7), (1, 2, 2, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_without_places_is_pooling(shape, layout):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    z[0, 0, 0, 0] = z[0, 0, 1, 1] = z.max() + 1
    z[-1, -1, -2:, :2] = torch.nan
    found = pieces.largest_of_four(z)
    torch.testing.assert_close(found, F.max_pool2d(z, 2), rtol=0, atol=0, equal_nan=True)
    assert found.is_contiguous(memory_format=layout)
