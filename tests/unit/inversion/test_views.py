"""What a model sees of recovered images: cropped and flipped, at its own side, normalised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dfml.compute.seeds import torch_generator
from dfml.imaging.crop_flip import CropFlips
from dfml.inversion.objective import Views
from support.zoo import SIDE, random_model

CANVAS = 24


def seen(views, images, seed=0):
    """The images before normalisation."""
    model = replace(random_model(), mean=torch.zeros(3), std=torch.ones(3))
    draws = torch_generator(seed)
    crop_flips = views.draw(images=len(images), canvas=images.shape[-1], side=SIDE, generator=draws)
    return views.inputs(model, images, crop_flips)


@pytest.mark.parametrize("resize", ["bilinear", "crop"])
def test_a_model_of_a_smaller_side_sees_its_own(resize):
    assert seen(Views(2, True, resize), torch.rand(5, 3, CANVAS, CANVAS)).shape == (5, 3, SIDE, SIDE)


def test_bilinear_shows_the_whole_and_crop_a_window():
    """IC14 and F18: a gradient from black to white keeps its mean when reduced, not when a window is cut out."""
    ramp = torch.linspace(0, 1, CANVAS).expand(40, 3, CANVAS, CANVAS)
    whole = seen(Views(0, True, "bilinear"), ramp)
    window = seen(Views(0, True, "crop"), ramp)
    assert torch.allclose(whole.mean((1, 2, 3)), torch.tensor(0.5), atol=1e-3)
    means = window.mean((1, 2, 3))
    assert means.std() > 0.03
    # A window of two thirds of the side spans two thirds of the grey values.
    assert torch.allclose(window.amax((1, 2, 3)) - window.amin((1, 2, 3)), torch.tensor((SIDE - 1) / (CANVAS - 1)))


def test_crops_reach_every_corner_and_no_further():
    """Offsets from minus the padding to the slack plus the padding (free.md F18)."""
    crop_flips = Views(2, True, "crop").draw(images=4000, canvas=CANVAS, side=SIDE, generator=torch_generator(0))
    assert set(crop_flips.shift.flatten().tolist()) == set(range(-2, CANVAS - SIDE + 2 + 1))


def test_a_flipped_window_is_the_window_flipped():
    views, images = Views(1, True, "crop"), torch.rand(1, 3, CANVAS, CANVAS)
    model = replace(random_model(), mean=torch.zeros(3), std=torch.ones(3))
    shift = torch.tensor([[3, 5]])
    plain, flipped = (views.inputs(model, images, CropFlips(shift, torch.tensor([flag]))) for flag in (False, True))
    assert torch.equal(plain, images[..., 3 : 3 + SIDE, 5 : 5 + SIDE])
    assert torch.equal(flipped, plain.flip(-1))


@pytest.mark.parametrize("resize", ["bilinear", "crop"])
def test_gradients_reach_the_images(resize):
    images = torch.rand(2, 3, CANVAS, CANVAS, requires_grad=True)
    (gradient,) = torch.autograd.grad(seen(Views(2, False, resize), images).square().sum(), images)
    touched = (gradient != 0).float().mean()
    assert touched > 0.9 if resize == "bilinear" else 0.3 < touched < 0.6


def test_at_one_side_both_forms_are_the_same():
    images = torch.rand(6, 3, SIDE, SIDE)
    assert torch.equal(seen(Views(2, True, "bilinear"), images), seen(Views(2, True, "crop"), images))


def test_a_learner_of_another_side_sees_the_same_crop_at_its_own():
    """As Pillow reduces what the model sees, another implementation of the same filter."""
    views = Views(2, True, learner_side=12)
    inputs = seen(views, torch.rand(4, 3, CANVAS, CANVAS))
    assert inputs.shape[-1] == SIDE
    planes = [Image.fromarray(plane.numpy()) for plane in inputs.flatten(0, 1)]
    reduced = [torch.from_numpy(np.array(plane.resize((12, 12), Image.Resampling.BILINEAR))) for plane in planes]
    torch.testing.assert_close(views.of_learner(inputs).flatten(0, 1), torch.stack(reduced), rtol=0, atol=1e-5)
    assert torch.equal(replace(views, learner_side=None).of_learner(inputs), inputs)
