"""Small turns, scalings and shifts: what they move where, how far they go, and what comes in from outside."""

import math

import pytest
import torch

from dfml.imaging.affine import Affines, draw_affines, look_at

COUNT = 400


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*batches, images=COUNT, turn=0.0, scale=1.0, shift=0.0, seed=0):
    return draw_affines(*batches, images=images, turn=turn, scale=scale, shift=shift, generator=generator(seed))


def test_nothing_drawn_changes_nothing():
    images = torch.rand(4, 3, 8, 8, generator=generator(1))
    torch.testing.assert_close(look_at(images, drawn(images=4)), images)


def test_turns_and_scalings_stay_within_their_bounds_and_reach_them():
    turned = drawn(turn=0.3, scale=1.5).matrix[..., :2]
    size, angle = turned.det().rsqrt(), torch.atan2(turned[:, 1, 0], turned[:, 0, 0])
    assert 0.28 < angle.abs().max() < 0.3 and angle.min() < 0 < angle.max()
    assert 1.45 < size.max() < 1.5 and 1 / 1.5 < size.min() < 1 / 1.45
    torch.testing.assert_close(turned @ turned.mT * size[:, None, None] ** 2, torch.eye(2).expand(COUNT, 2, 2))


def test_a_shift_is_counted_in_parts_of_the_side():
    matrix = drawn(shift=0.25).matrix
    assert matrix[:, :, 2].abs().max() == pytest.approx(0.5, abs=0.01)
    right = Affines(torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]]))  # half of half the side: two of eight pixels
    image = torch.rand(1, 3, 8, 8, generator=generator(2))
    expected = torch.cat([image[..., 2:], image[..., -1:], image[..., -1:]], -1)
    torch.testing.assert_close(look_at(image, right), expected)


def test_a_quarter_turn_is_a_quarter_turn():
    angle = math.pi / 2
    turn = Affines(torch.tensor([[[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]]))
    image = torch.rand(1, 3, 8, 8, generator=generator(3))
    torch.testing.assert_close(look_at(image, turn), image.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_results_stay_images_and_a_plain_ground_stays_plain():
    images = torch.rand(50, 3, 16, 16, generator=generator(4))
    everything = drawn(images=50, turn=1.0, scale=2.0, shift=0.5)
    assert look_at(images, everything).min() >= 0 and look_at(images, everything).max() <= 1
    plain = torch.full((50, 3, 16, 16), 0.7)
    torch.testing.assert_close(look_at(plain, everything), plain)


def test_leading_dimensions_count_batches_and_the_seed_decides():
    many = drawn(3, images=5, turn=0.2, scale=1.2, shift=0.1)
    assert many.matrix.shape == (3, 5, 2, 3)
    assert many[1].matrix.shape == (5, 2, 3)
    assert torch.equal(many.matrix, drawn(3, images=5, turn=0.2, scale=1.2, shift=0.1).matrix)
    assert not torch.equal(many.matrix, drawn(3, images=5, turn=0.2, scale=1.2, shift=0.1, seed=1).matrix)
