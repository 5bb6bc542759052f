"""Every form of the meta-gradient against the plain loop, and which form is taken."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from benchmarks.tf32 import AsTF32
from dfml.artefacts.zoo import NetworkSpec
from dfml.metalearning import episode_forms
from dfml.metalearning.episode_forms import (
    CANDIDATES,
    GROUPED,
    ONE_BY_ONE,
    EpisodeForm,
    Shape,
    form_of,
)
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_gradient import meta_gradient
from dfml.networks.build import build_network
from support.learners import WAYS, encoder, generator

STEPS, RATE = 5, 0.1
META = {"ways": WAYS, "steps": STEPS, "learning_rate": RATE}
# The candidates' limits are for GPUs, and a test is small. With this one a pass has convolutions of both kinds.
LIMIT = 200
FORMS = {
    "one_by_one": ONE_BY_ONE,
    **CANDIDATES,
    "mixed": EpisodeForm("autograd", LIMIT),
    "closed_mixed": EpisodeForm("closed", LIMIT),
    "streams_mixed": EpisodeForm("streams", LIMIT),
}


# How far the whole gradient may be from the plain loop's in float64, in the relative norm.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
# With factors of 10 bits, maxima and signs of activations turn over in the inner loop.
WITH_TF32 = 0.1


def network_of(side, *, width=4, grid=1):
    """A Conv4 whose batch norms have scales of both signs."""
    spec = NetworkSpec(family="conv4", width=width, ways=WAYS, side=side, grid=grid)
    network = build_network(spec, generator=generator(0), episodic=True)
    with torch.no_grad():
        for block in range(4):
            network.blocks[4 * block + 1].weight[1] *= -1
    return network


def episodes(count, side, *, shots=2, queries=3):
    draws = generator(1)
    return [torch.randn(count, WAYS * n, 3, side, side, generator=draws) for n in (shots, queries)]


def labels(images):
    return torch.arange(WAYS).repeat_interleave(len(images) // WAYS)


def plain_meta_gradient(network, start, support, query, *, first_order):
    """The loop written out, with PyTorch's own convolution, batch norm and autograd: loss, accuracy and gradient."""
    total, right = 0, 0
    for own_support, own_query in zip(support, query, strict=True):
        weights = start
        for _ in range(STEPS):
            loss = F.cross_entropy(functional_call(network, weights, (own_support,)), labels(own_support))
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=not first_order)
            weights = {n: p - RATE * g for (n, p), g in zip(weights.items(), gradients, strict=True)}
        logits = functional_call(network, weights, (own_query,))
        total = total + F.cross_entropy(logits, labels(own_query)) / len(support)
        right += (logits.argmax(1) == labels(own_query)).sum() / support.shape[0] / query.shape[1]
    return total.detach(), right, flat(torch.autograd.grad(total, list(start.values())))


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items(), ids=["32", "64"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_plain_loop(form, dtype, tolerance, first_order):
    """In the relative norm of the whole gradient."""
    network = encoder().to(dtype)
    support, query = (images.to(dtype) for images in episodes(3, 16))
    start = parameters_of(network)
    loss, accuracy, gradient = plain_meta_gradient(network, start, support, query, first_order=first_order)
    found = meta_gradient(network, start, support, query, first_order=first_order, form=FORMS[form], **META)
    assert (flat(found.gradients.values()) - gradient).norm() <= tolerance * gradient.norm()
    torch.testing.assert_close(found.loss, loss, rtol=tolerance, atol=0)
    torch.testing.assert_close(found.accuracy, accuracy.to(found.accuracy.dtype))
    assert list(found.gradients) == list(start) and not found.loss.requires_grad


@pytest.mark.parametrize("first_order", [False, True], ids=["second", "first"])
@pytest.mark.parametrize("form", [name for name in CANDIDATES if name != "streams"])
def test_rounding_as_tf32_does_leaves_the_direction(form, first_order):
    network = encoder()
    support, query = episodes(3, 16)
    with AsTF32():
        found = meta_gradient(
            network, parameters_of(network), support, query, first_order=first_order, form=FORMS[form], **META
        )
    network, gradient = network.double(), flat(found.gradients.values()).double()
    exact = (support.double(), query.double())
    expected = plain_meta_gradient(network, parameters_of(network), *exact, first_order=first_order)[2]
    # Not rounded at all, it would be within the tolerance of float32.
    assert 100 * TOLERANCES[torch.float32] < (gradient - expected).norm() / expected.norm() < WITH_TF32
    assert F.cosine_similarity(gradient, expected, dim=0) > 1 - WITH_TF32**2


@pytest.mark.parametrize(
    ("own", "side", "grid"), [(22, 22, 1), (None, 20, 1), (None, 48, 2)], ids=["with a remainder", "any side", "a grid"]
)
@pytest.mark.parametrize("form", FORMS)
def test_so_it_is_at_other_sides_and_with_scales_of_both_signs(form, own, side, grid):
    network = network_of(own, grid=grid).double()
    support, query = (images.double() for images in episodes(2, side))
    start = parameters_of(network)
    loss, _, gradient = plain_meta_gradient(network, start, support, query, first_order=False)
    found = meta_gradient(network, start, support, query, first_order=False, form=FORMS[form], **META)
    assert (flat(found.gradients.values()) - gradient).norm() <= 1e-10 * gradient.norm()
    torch.testing.assert_close(found.loss, loss, rtol=1e-10, atol=0)


@pytest.mark.parametrize("form", ["products", "mixed"])
def test_strides_and_kernels_of_a_resnet_are_products_too(form):
    spec = NetworkSpec(family="resnet10", width=2, ways=WAYS, side=None)
    network = build_network(spec, generator=generator(0), episodic=True).double()
    support, query = (images.double() for images in episodes(2, 8, shots=1, queries=2))
    start = parameters_of(network)
    expected = plain_meta_gradient(network, start, support, query, first_order=False)[2]
    found = meta_gradient(network, start, support, query, first_order=False, form=FORMS[form], **META)
    assert (flat(found.gradients.values()) - expected).norm() <= 1e-10 * expected.norm()


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.way in ("autograd", "closed")])
def test_all_episodes_share_every_operation(form):
    """``vmap`` warns of those that it does one by one."""
    network = network_of(16)
    support, query = episodes(2, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meta_gradient(network, parameters_of(network), support, query, first_order=False, form=FORMS[form], **META)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bits_every_time(form):
    network = network_of(16)
    start, (support, query) = parameters_of(network), episodes(3, 16)
    one, two = (
        meta_gradient(network, start, support, query, first_order=False, form=FORMS[form], **META) for _ in range(2)
    )
    assert torch.equal(flat(one.gradients.values()), flat(two.gradients.values()))


@pytest.mark.parametrize("way", ["closed", "streams"])
def test_closed_forms_are_refused_where_there_are_none(way):
    network, (support, query) = network_of(16), episodes(1, 16)
    start = parameters_of(network)
    with pytest.raises(ValueError, match="no closed forms"):
        meta_gradient(network, start, support, query, first_order=False, head_only=True, form=EpisodeForm(way), **META)


def test_a_gpu_takes_what_was_measured_for_the_shape_and_no_other(monkeypatch):
    network, cuda = network_of(32, width=8), torch.device("cuda")
    shapes = torch.Size([10, 5, 3, 32, 32]), torch.Size([10, 75, 3, 32, 32])
    assert form_of(network, *shapes, cuda, head_only=False) == GROUPED
    monkeypatch.setattr(episode_forms, "FASTEST", {Shape(10, 5, 75, 32, 8): "closed_products"})
    assert form_of(network, *shapes, cuda, head_only=False) == CANDIDATES["closed_products"]
    assert form_of(network, *shapes, cuda, head_only=True) == GROUPED
    assert form_of(network_of(32, width=4), *shapes, cuda, head_only=False) == GROUPED
    assert form_of(network, *shapes, torch.device("cpu"), head_only=False) == ONE_BY_ONE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", CANDIDATES)
def test_on_a_gpu_every_candidate_is_the_plain_loop(form, monkeypatch):
    network = encoder().double()
    support, query = (images.double() for images in episodes(3, 16))
    expected = plain_meta_gradient(network, parameters_of(network), support, query, first_order=False)[2]
    precisions = [(dtype, False, tolerance) for dtype, tolerance in TOLERANCES.items()] + [
        (torch.float32, True, WITH_TF32)
    ]
    for dtype, tf32, tolerance in precisions:
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
        own = network.to("cuda", dtype)
        images = (support.to("cuda", dtype), query.to("cuda", dtype))
        one, two = (
            flat(
                meta_gradient(
                    own, parameters_of(own), *images, first_order=False, form=CANDIDATES[form], **META
                ).gradients.values()
            )
            for _ in range(2)
        )
        assert torch.equal(one, two)
        assert (one.cpu().double() - expected).norm() <= tolerance * expected.norm()
