"""The generator: size, range, initial weights, statistics."""

import math

import pytest
import torch
import torch.nn.functional as F

from dfml.compute.seeds import torch_generator
from dfml.networks.generator import Generator, convolve_upsampled


def generator(seed=0, **sizes):
    network = Generator(**{"latent": 8, "width": 4, "side": 16, **sizes})
    network.initialise(torch_generator(seed))
    return network


def latents(count, *, seed=1, size=8):
    return torch.randn(count, size, generator=torch_generator(seed))


@pytest.mark.parametrize(("side", "count"), [(32, 2_328_899), (84, 14_730_691)])
def test_published_sizes(side, count):
    with torch.device("meta"):
        network = Generator(latent=256, width=64, side=side)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("side", [16, 20, 30, 31, 32])
def test_images_lie_in_the_unit_interval(side):
    images = generator(side=side)(10 * latents(6))
    assert images.shape == (6, 3, side, side)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.01


def test_initial_weights_are_those_of_the_generator_of_random_numbers():
    first, again, other = generator(), generator(), generator(1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first(latents(4)), other(latents(4)))


def test_initial_weights_follow_pytorchs_law():
    ours = generator(latent=64, width=16)
    torchs = Generator(latent=64, width=16, side=16)
    for name, parameter in ours.named_parameters():
        like = torchs.get_parameter(name)
        if name.startswith("norm"):
            assert torch.equal(parameter, like)
        else:
            fan_in = 64 if name.startswith("project") else 9 * ours.get_submodule(name.split(".")[0]).in_channels
            assert parameter.abs().max() <= 1 / math.sqrt(fan_in)
            assert like.detach().abs().max() <= 1 / math.sqrt(fan_in)
            if parameter.numel() > 100:
                assert parameter.std().item() == pytest.approx(like.std().item(), rel=0.15)


def test_batch_statistics_are_used_in_every_mode_and_never_stored():
    network = generator()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    assert torch.equal(network.train()(latents(4)), network.eval()(latents(4)))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert not list(network.buffers())
    assert not torch.allclose(network(latents(4))[:3], network(latents(4)[:3]))


def test_double_precision():
    images = generator().double()(latents(4).double())
    assert images.dtype == torch.float64
    assert torch.allclose(images.float(), generator()(latents(4)), atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 5)])
def test_one_transposed_convolution_is_enlarging_and_convolving(memory_format, size):
    """Values and gradients, borders included."""
    draws = torch_generator(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=draws).contiguous(memory_format=memory_format)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=draws)
    given = [x.requires_grad_(), weight.requires_grad_()]
    found = convolve_upsampled(x, weight)
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(y.sin().sum(), given) for y in (found, expected))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
