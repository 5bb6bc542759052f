"""Changing the resolution of images."""

import pytest
import torch
from torch.func import vmap

from dfml.imaging.pixels import resized


def test_the_same_side_is_the_same_tensor():
    images = torch.rand(2, 3, 8, 8)
    assert resized(images, 8) is images


@pytest.mark.parametrize("side", [5, 8, 13])
def test_a_constant_stays_constant(side):
    """IC14: the whole image is seen, so its mean stays."""
    images = torch.full((2, 3, 10, 10), 0.3, dtype=torch.float64)
    assert torch.allclose(resized(images, side), torch.tensor(0.3, dtype=torch.float64), atol=1e-12)


def test_halving_is_the_antialiased_mean_of_neighbours():
    """Half the side: the triangle filter of width four has the weights 1, 3, 3, 1 over eight, inside the image."""
    row = torch.rand(8, dtype=torch.float64)
    images = row.expand(1, 1, 8, 8)
    weights = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8
    found = resized(images, 4)[0, 0, 0]
    assert torch.allclose(found[1], (row[1:5] * weights).sum())
    assert torch.allclose(found[2], (row[3:7] * weights).sum())


def test_gradients_and_leading_dimensions():
    images = torch.rand(2, 3, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    small = resized(images, 4)
    assert small.shape == (2, 3, 3, 4, 4)
    assert torch.equal(small[1], resized(images[1], 4))
    assert torch.autograd.gradcheck(lambda x: resized(x, 4), (images[:1, :1, :1],))


def test_under_vmap():
    images = torch.rand(3, 2, 3, 6, 6)
    assert torch.allclose(vmap(lambda x: resized(x, 4))(images), resized(images, 4))
