"""What is known of images beforehand: total variation and the roll, against pixel by pixel computations."""

import math

import pytest
import torch

from dfml.inversion.losses import rolled, total_variation
from support.learners import generator


def images(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def test_total_variation_is_the_sum_of_four_norms_over_the_batch():
    x = images(2, 3, 4, 5)
    expected = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = 0.0
        for i in range(4):
            for j in range(5):
                if i + down < 4 and 0 <= j + right < 5:
                    squares += (x[:, :, i + down, j + right] - x[:, :, i, j]).square().sum().item()
        expected += math.sqrt(squares)
    assert total_variation(x).item() == pytest.approx(expected, rel=1e-12)


def test_a_flat_image_has_no_variation_and_a_gradient_of_zero():
    x = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    value = total_variation(x)
    value.backward()
    assert value == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_the_gradient_of_total_variation_matches_finite_differences():
    x = images(2, 3, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(total_variation, x)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (2, -1)])
def test_a_roll_brings_in_at_one_edge_what_left_at_the_other(shift):
    x = images(2, 3, 4, 5)
    moved = rolled(x, shift)
    for i in range(4):
        for j in range(5):
            assert torch.equal(moved[..., (i + shift[0]) % 4, (j + shift[1]) % 5], x[..., i, j])


def test_a_gradient_is_rolled_back():
    x, weights = images(1, 3, 4, 4).requires_grad_(), images(1, 3, 4, 4, seed=1)
    (gradient,) = torch.autograd.grad((rolled(x, (1, -2)) * weights).sum(), x)
    assert torch.equal(gradient, rolled(weights, (-1, 2)))
