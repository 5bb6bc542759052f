"""Images that no data set was needed for: leaves, shapes and noise of a given spectrum, drawn from a seed.

That networks learn useful features from such images is known from Baradad et al., *Learning to See by Looking at Noise*
(NeurIPS 2021), whose dead leaves and spectra these follow; as questions that a teacher answers, procedural images were
studied by Frank and Davis (CVPR 2025).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

AT_ONCE = 250  # images that are drawn together, which keeps what is in use in a processor's cache
LEAVES = 40
SHAPES = 5
HARMONICS = 4


def procedural(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Leaves, shapes and spectra, a third of each, in a random order: ``[count, 3, side, side]`` in [0, 1].

    Args:
        count: images.
        side: pixels.
        generator: source of randomness (a CPU generator).
    """
    kinds: list[Callable[[int, int, torch.Generator], Tensor]] = [leaves, shapes, spectra]
    shares = [count * (number + 1) // len(kinds) - count * number // len(kinds) for number in range(len(kinds))]
    chunks = [
        draw(min(AT_ONCE, share - start), side, generator)
        for draw, share in zip(kinds, shares, strict=True)
        for start in range(0, share, AT_ONCE)
    ]
    order = torch.randperm(count, generator=generator)
    return torch.cat(chunks)[order]


def leaves(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Dead leaves: shapes of one colour each that cover one another, small ones being many; shapes as returned above.

    Radii fall off as the third power, between a sixteenth and a half of the side, as the model of Lee, Mumford and
    Huang (2001) asks for images that look alike at every scale.
    """
    images = _ground(count, side, generator)
    low, high = 1 / 16, 1 / 2
    for _ in range(LEAVES):
        uniform = torch.rand(count, generator=generator)
        radius = (high**-2 + uniform * (low**-2 - high**-2)) ** -0.5
        images = _painted(images, radius, generator)
    return images


def shapes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """One to five large shapes of a colour each on a ground; shapes as returned above."""
    images = _ground(count, side, generator)
    number = torch.randint(1, SHAPES + 1, (count,), generator=generator)
    for position in range(SHAPES):
        radius = 0.1 + 0.3 * torch.rand(count, generator=generator)
        images = _painted(images, torch.where(position < number, radius, 0.0), generator)
    return images


def spectra(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Noise whose amplitude falls with frequency, by a power between 0.5 and 3 for each image; shapes as above.

    Channels are random mixtures of three such noises; half of the images are cut into two or three flat levels.
    """
    frequency = torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side).square()
    frequency[0, 0] = 1.0
    power = 0.5 + 2.5 * torch.rand(count, 1, 1, 1, generator=generator)
    noise = torch.randn(count, 3, side, side, generator=generator)
    spectrum = torch.fft.rfft2(noise) * frequency.sqrt() ** -power
    spectrum[..., 0, 0] = 0
    fields = torch.fft.irfft2(spectrum, s=(side, side))
    fields = fields / fields.std((2, 3), keepdim=True)
    mixed = torch.einsum("nij,njhw->nihw", torch.randn(count, 3, 3, generator=generator), fields) * 0.15
    images = (mixed + torch.rand(count, 3, 1, 1, generator=generator)).clamp(0, 1)
    levels = torch.randint(1, 3, (count, 1, 1, 1), generator=generator)
    flat = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(flat, (images * levels).round() / levels, images)


def _ground(count: int, side: int, generator: torch.Generator) -> Tensor:
    """A colour for each image, which in half of them changes to another one along some direction."""
    first, second = torch.rand(2, count, 3, 1, 1, generator=generator).unbind()
    second = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, first, second)
    angle = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    down, right = _places(side)
    along = (0.5 + down * angle.sin() + right * angle.cos()).clamp(0, 1)[:, None]
    return first + along * (second - first)


def _painted(images: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Images with one shape more each, of ``radius`` ``[n]`` in parts of the side, at any place and of any colour.

    A shape is a polygon or has a wavy outline; which is which and by how much is drawn.
    """
    count, side = len(images), images.shape[-1]
    down, right = _places(side)
    centre = torch.rand(count, 2, 1, 1, generator=generator) - 0.5
    down, right = down - centre[:, 0], right - centre[:, 1]
    angle = torch.atan2(down, right) + 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    stretch = torch.exp(0.5 * torch.randn(count, 1, 1, generator=generator))
    distance = (down.square() * stretch + right.square() / stretch).sqrt()
    corners = torch.randint(3, 7, (count, 1, 1), generator=generator).float()
    sector = 2 * math.pi / corners
    polygon = (sector / 2).cos() / (torch.remainder(angle, sector) - sector / 2).cos()
    waves = torch.ones_like(angle)
    for wave in range(2, 2 + HARMONICS):
        height = 0.5 * torch.randn(count, 1, 1, generator=generator) / wave
        waves = waves + height * (wave * angle).cos()
    straight = torch.rand(count, 1, 1, generator=generator) < 0.5
    inside = distance < radius[:, None, None] * torch.where(straight, polygon, waves)
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    return torch.where(inside[:, None], colour, images)


def _places(side: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of pixel centres, from −1/2 to 1/2: ``[side, 1]`` and ``[1, side]``."""
    centres = (torch.arange(side) + 0.5) / side - 0.5
    return centres[:, None], centres[None, :]
