"""CMI's contrastive part: the loss by an independent computation, features, memory, windows."""

import math

import pytest
import torch
from torch import nn

from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.imaging.windows import Windows, draw_windows, look_through
from dfml.inversion import cmi as module
from dfml.inversion.cmi import ContrastiveInversion, FeatureMemory, NormInputs, ProjectionHead, contrastive_loss
from dfml.inversion.settings import InversionSettings
from support.inversion import inversion_settings
from support.zoo import SIDE, random_model


def test_a_network_without_batch_norms_is_told():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5))
    contrastive = ContrastiveInversion(InversionSettings(), side=SIDE)
    with pytest.raises(DfmlError, match="model 0 has no batch norm, and CMI compares what goes into these"):
        contrastive(random_model(network=network), torch_generator(0))


def test_batches_of_a_model_are_told_apart_by_the_contrastive_term(monkeypatch):
    """It moves the images, and from the second batch on compares with what the batches before have left."""
    remembered, loss = [], module.contrastive_loss
    monkeypatch.setattr(module, "contrastive_loss", lambda *given: remembered.append(given[2]) or loss(*given))
    found = {}
    for weight in (0.0, 0.8):
        own = {"batches": 2, "steps": 4, "contrast_weight": weight}
        settings = inversion_settings(cmi=own)
        found[weight] = ContrastiveInversion(settings, side=SIDE)(random_model(dtype=torch.float32), torch_generator(0))
    assert not any(torch.equal(a.images, b.images) for a, b in zip(found[0.0], found[0.8], strict=True))
    assert [one is None for one in remembered] == ([True] * 4 + [False] * 4) * 2


def features(count, seed, size=6):
    draws = torch_generator(seed)
    return tuple(torch.randn(count, size, dtype=torch.float64, generator=draws) for _ in range(2))


def make_head(size=6):
    return ProjectionHead(size, 5, torch_generator(0, "head")).double()


@torch.no_grad()
def by_hand(head, current, remembered, temperature):
    """Sums over single pairs."""
    local = [head(row[None])[0] for part in (current, remembered) for row in part[0]]
    overall = [head(row[None])[0] for part in (current, remembered) for row in part[1]]
    losses = []
    for i, own in enumerate(local):
        terms = [math.exp(float(own @ other) / temperature) for other in overall]
        losses.append(-math.log(terms[i] / sum(terms)))
    count = len(current[0])
    return sum(losses[:count]) / count + sum(losses[count:]) / max(1, len(losses) - count)


@pytest.mark.parametrize("kept", [0, 3, 7])
def test_the_loss_pair_by_pair(kept):
    head, current = make_head(), features(4, 1)
    remembered = features(kept, 2)
    loss = contrastive_loss(head, current, remembered if kept else None, 0.1)
    assert loss.item() == pytest.approx(by_hand(head, current, remembered, 0.1), rel=1e-10)


def test_projections_lie_on_the_unit_sphere():
    torch.testing.assert_close(make_head()(features(9, 0)[0]).norm(dim=1), torch.ones(9, dtype=torch.float64))


def test_the_gradient_of_the_local_view_matches_finite_differences():
    head, (local, overall), remembered = make_head(), features(4, 1), features(3, 2)
    local.requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(head, (local, overall), remembered, 0.3), local)
    with torch.no_grad():
        for seed in range(4):
            step = 1e-6 * torch.randn(local.shape, dtype=local.dtype, generator=torch_generator(seed, "step"))
            ends = [contrastive_loss(head, (local + sign * step, overall), remembered, 0.3) for sign in (1, -1)]
            assert (gradient * step).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 2, rel=1e-6)


def test_no_gradient_passes_through_the_global_view():
    head, (local, overall) = make_head(), features(4, 1)
    overall.requires_grad_()
    local.requires_grad_()
    loss = contrastive_loss(head, (local, overall), None, 0.1)
    assert torch.autograd.grad(loss, overall, allow_unused=True, retain_graph=True) == (None,)
    # The head learns from the local side alone: with the global projections held, the same gradient.
    found = torch.autograd.grad(loss, list(head.parameters()), retain_graph=True)
    fixed = head(overall).detach()
    similarity = head(local) @ fixed.T / 0.1
    expected = torch.autograd.grad(nn.functional.cross_entropy(similarity, torch.arange(4)), list(head.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_images_that_are_alike_cost_more_than_images_apart():
    head = make_head()
    apart = features(4, 1)
    alike = tuple(part[:1].expand(4, -1) for part in apart)
    same_views = (apart[0], apart[0])
    assert contrastive_loss(head, alike, None, 0.1).item() == pytest.approx(math.log(4))
    assert contrastive_loss(head, same_views, None, 0.1) < math.log(4)


@pytest.mark.parametrize("family", ["conv4", "resnet10"])
def test_features_are_the_spatial_means_of_what_reaches_the_batch_norms(family):
    network = random_model(family=family).network
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch_generator(0))
    with NormInputs(network) as inputs:
        network(x)
        found = inputs.features()
    assert found.shape == (4, inputs.size)
    first = network.blocks[0] if family == "conv4" else network.stem
    means = first(x).mean((2, 3))
    torch.testing.assert_close(found[:, : means.shape[1]], means)
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_the_memory_keeps_the_newest_and_gives_pairs_that_belong_together():
    memory = FeatureMemory(5)
    assert memory.sample(3, torch_generator(0)) is None
    for start in (0, 4):
        rows = torch.arange(start, start + 4.0)[:, None]
        memory.add((rows, rows + 100))
    local, overall = memory.sample(9, torch_generator(0))
    assert local.flatten().tolist() == [3, 4, 5, 6, 7]
    local, overall = memory.sample(3, torch_generator(0))
    assert len(set(local.flatten().tolist())) == 3
    assert torch.equal(overall, local + 100)


def whole(count, *, flipped=False):
    return Windows(torch.ones(count, 2), torch.zeros(count, 2), torch.full((count,), flipped))


def test_the_whole_window_shows_the_image():
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch_generator(0))
    torch.testing.assert_close(look_through(x, whole(2)), x)
    torch.testing.assert_close(look_through(x, whole(2, flipped=True)), x.flip(-1))


@pytest.mark.parametrize("flipped", [False, True])
def test_a_window_is_that_of_grid_sample(flipped):
    """Bilinear sampling at the same places by torch, pixels beyond the edge repeated."""
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64, generator=torch_generator(0))
    drawn = draw_windows(images=3, smallest=0.25, generator=torch_generator(1))
    windows = Windows(drawn.size, drawn.corner, torch.full((3,), flipped))
    centre = windows.corner + windows.size / 2
    theta = torch.zeros(3, 2, 3, dtype=x.dtype)
    theta[:, 0, 0] = windows.size[:, 1] * (-1 if flipped else 1)
    theta[:, 1, 1] = windows.size[:, 0]
    theta[:, 0, 2], theta[:, 1, 2] = 2 * centre[:, 1] - 1, 2 * centre[:, 0] - 1
    grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    expected = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(look_through(x, windows), expected, rtol=0, atol=1e-5)


def test_windows_keep_their_bounds():
    windows = draw_windows(50, images=20, smallest=0.25, generator=torch_generator(0))
    area = windows.size.prod(-1)
    assert windows.size.shape == (50, 20, 2) and windows.flipped.float().mean().sub(0.5).abs() < 0.1
    assert 0.2 < area.min() < 0.3 and 0.9 < area.max() <= 1
    shape = windows.size[..., 1] / windows.size[..., 0]
    assert shape.min() > 0.749 and shape.max() < 1.334
    assert windows.corner.min() >= 0 and (windows.corner + windows.size).max() <= 1 + 1e-6
