"""DeepInversion's own parts: priors, jitter, the range of the pixels, the kept copy (IC16)."""

import itertools

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.imaging.pixels import normalise
from dfml.inversion import deep_inversion as pixels
from dfml.inversion.deep_inversion import DeepInversion
from dfml.inversion.descent import Keeper
from dfml.inversion.losses import rolled, total_variation
from support.inversion import inversion_settings
from support.zoo import CPU, SIDE, random_model, storages


def batch(seed=0, side=5):
    return torch.rand(2, 3, side, side, dtype=torch.float64, generator=torch_generator(seed))


def test_total_variation_pixel_by_pixel():
    x, side = batch(), 5
    expected = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = 0.0
        for row, column in itertools.product(range(side), range(side)):
            if row + down < side and 0 <= column + right < side:
                squares += (x[..., row + down, column + right] - x[..., row, column]).square().sum()
        expected += squares**0.5
    torch.testing.assert_close(total_variation(x), expected, rtol=1e-12, atol=0)


def test_a_flat_image_varies_nothing_and_has_a_gradient():
    x = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    value = total_variation(x)
    (gradient,) = torch.autograd.grad(value, x)
    assert value == 0 and torch.equal(gradient, torch.zeros_like(x))


def test_rolling_moves_down_and_right_around_the_edge():
    x = batch()
    y = rolled(x, (1, -2))
    for row, column in itertools.product(range(5), range(5)):
        assert torch.equal(y[..., (row + 1) % 5, (column - 2) % 5], x[..., row, column])
    assert torch.equal(rolled(y, (-1, 2)), x)


class Offers(Keeper):
    """Remembers what it was offered, and a copy of that."""

    made = None

    def __init__(self, rule):
        super().__init__(rule)
        self.offers = []
        Offers.made = self

    def offer(self, images, loss):
        super().offer(images, loss)
        self.offers.append((images, images.clone()))


@pytest.mark.parametrize("rate", [0.05, 50.0])
def test_the_best_iterate_is_a_copy_that_later_steps_do_not_change(monkeypatch, rate):
    """With the large rate later iterates are worse, so that the best is not the last."""
    moved, adam = [], pixels.Adam
    monkeypatch.setattr(pixels, "Keeper", Offers)
    monkeypatch.setattr(pixels, "Adam", lambda groups, *a, **k: moved.append(groups[0][0]) or adam(groups, *a, **k))
    settings = inversion_settings(deep_inversion={"steps": 8, "learning_rate": rate})
    model = random_model(dtype=torch.float32)
    found = DeepInversion(settings, side=SIDE)(model, torch_generator(0))
    made = Offers.made
    assert all(torch.equal(given, copy) for given, copy in made.offers)
    best = torch.stack(made.losses).argmin()
    assert torch.equal(found.images, made.offers[best][1])
    assert storages([found.images]).isdisjoint(storages(moved))
    if rate > 1:
        last = (moved[0].detach() * model.std[:, None, None] + model.mean[:, None, None]).clamp(0, 1)
        assert not torch.allclose(found.images, last)


def test_pixels_stay_within_what_real_images_can_become():
    model = random_model(dtype=torch.float32)
    own = torch.randn(4, 3, SIDE, SIDE, generator=torch_generator(0)) * 10
    pixels._clip(own, model)
    for end, value in ((0.0, own.amin((0, 2, 3))), (1.0, own.amax((0, 2, 3)))):
        expected = normalise(torch.full((3, 1, 1), end), model.mean, model.std).flatten()
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(("roll", "flip"), [(0.0, False), (0.25, False), (0.0, True)])
def test_jitter_is_within_its_bounds(roll, flip):
    settings = inversion_settings(deep_inversion={"steps": 200, "roll": roll, "flip": flip})
    shifts, flips = DeepInversion(settings, side=SIDE)._jitter(torch_generator(0))
    assert {offset for shift in shifts for offset in shift} == set(range(-int(roll * SIDE), int(roll * SIDE) + 1))
    assert (60 < sum(flips) < 140) == flip


def test_every_term_reaches_the_pixels():
    model = random_model(dtype=torch.float32)
    draws = {"steps": 4, "roll": 0.0, "flip": False}
    found = {}
    for term in (None, "ce_weight", "bn_weight", "tv_weight"):
        weights = dict.fromkeys(("ce_weight", "bn_weight", "tv_weight"), 0.0) | ({term: 1.0} if term else {})
        settings = inversion_settings(deep_inversion=draws | weights)
        found[term] = DeepInversion(settings, side=SIDE)(model, torch_generator(0)).images
    assert found["tv_weight"].device == CPU
    start = torch.randn(12, 3, SIDE, SIDE, generator=torch_generator(0))
    unmoved = found.pop(None)
    assert not any(torch.equal(images, unmoved) for images in found.values())
    variation = {term: total_variation(images).item() for term, images in found.items()}
    assert variation["tv_weight"] < min(variation["ce_weight"], variation["bn_weight"]) < total_variation(start).item()
    assert not torch.equal(found["ce_weight"], found["bn_weight"])
