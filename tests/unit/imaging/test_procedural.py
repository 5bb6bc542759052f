"""Procedural images: images of many kinds, from a seed and nothing else."""

import pytest
import torch

from dfml.imaging import procedural as module
from dfml.imaging.procedural import AT_ONCE, LEAVES, leaves, procedural, shapes, spectra
from support.learners import generator

SIDE = 32
KINDS = ("leaves", "shapes", "spectra")


@pytest.mark.parametrize("draw", [leaves, shapes, spectra, procedural])
def test_images_come_from_the_seed_alone_and_are_all_different(draw):
    images = draw(40, SIDE, generator(0))
    assert images.shape == (40, 3, SIDE, SIDE) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, draw(40, SIDE, generator(0)))
    assert not torch.equal(images, draw(40, SIDE, generator(1)))
    assert len({image.numpy().tobytes() for image in images}) == 40
    assert images.flatten(1).std(1).median() > 0.1


@pytest.mark.parametrize("count", [1, 2, 3, 31, 3 * AT_ONCE + 1])
def test_there_are_as_many_of_each_kind(monkeypatch, count):
    drawn = dict.fromkeys(KINDS, 0)
    for name in KINDS:
        original = getattr(module, name)

        def counted(number, *rest, name=name, original=original):
            drawn[name] += number
            return original(number, *rest)

        monkeypatch.setattr(module, name, counted)
    assert len(procedural(count, 16, generator(0))) == count
    assert sum(drawn.values()) == count and max(drawn.values()) - min(drawn.values()) <= 1


def test_all_kinds_are_there_in_a_random_order():
    images = procedural(3 * AT_ONCE, 16, generator(0))
    # Shapes are few: most neighbouring pixels of an image on a plain ground are equal, which noise never is.
    flat = (images.diff(dim=3) == 0).float().mean((1, 2, 3)) > 0.4
    assert 0.2 < flat.float().mean() < 0.9
    changes = (flat[1:] != flat[:-1]).float().mean()
    assert changes > 0.2


def test_leaves_cover_one_another_at_many_sizes():
    images = leaves(200, SIDE, generator(0))
    colours = torch.tensor([len(image.flatten(1).unique(dim=1).T) for image in images])
    on_plain_ground = colours[colours <= LEAVES + 1]  # the other grounds change along a direction
    assert len(on_plain_ground) > 50
    assert on_plain_ground.float().mean() > LEAVES / 2
    hidden = (on_plain_ground < LEAVES + 1).float().mean()
    assert hidden > 0.9


def test_shapes_are_one_to_five_on_a_ground():
    images = shapes(400, SIDE, generator(0))
    colours = torch.tensor([len(image.flatten(1).unique(dim=1).T) for image in images])
    plain = colours[colours <= 6]
    assert 0.3 < len(plain) / 400 < 0.7  # the other grounds change along a direction
    assert plain.unique().tolist() == [1, 2, 3, 4, 5, 6] or plain.unique().tolist() == [2, 3, 4, 5, 6]


def test_the_steeper_the_spectrum_the_smoother_the_image():
    powers = 0.5 + 2.5 * torch.rand(300, 1, 1, 1, generator=generator(0)).flatten()  # drawn first
    images = spectra(300, SIDE, generator(0))
    rough = (images.diff(dim=3).square().mean((1, 2, 3)) / images.var((2, 3)).mean(1)).log()
    assert torch.corrcoef(torch.stack([powers, rough]))[0, 1] < -0.8


def test_some_spectra_are_cut_into_two_or_three_levels():
    images = spectra(300, SIDE, generator(0))
    levels = torch.tensor([len(image.unique()) for image in images])
    assert 0.35 < (levels <= 3).float().mean() < 0.65
    assert {2, 3} <= set(levels.tolist())
