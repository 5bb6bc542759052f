"""A training step by closed forms against autograd and torch's own batch norm."""

import copy

import pytest
import torch
import torch.nn.functional as F

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.compute.traced import CALLS_BEFORE
from dfml.networks.build import build_network
from dfml.zoo.closed_step import ClosedStep


def pair(*, width, side):
    """A Conv4 in training, some of its scales below zero, and a copy."""
    spec = NetworkSpec(family="conv4", width=width, ways=5, side=side)
    network = build_network(spec, generator=torch_generator(0, "weights")).double().train()
    generator = torch_generator(1, "values")
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.startswith("blocks") and p.dim() == 1:
                p.copy_(torch.randn(len(p), generator=generator, dtype=p.dtype))
    network = network.to(memory_format=torch.channels_last)
    return network, copy.deepcopy(network)


@pytest.mark.parametrize(("width", "side"), [(4, 32), (3, None)])
def test_gradients_and_running_statistics_are_those_of_torch(width, side):
    plain, network = pair(width=width, side=side)
    closed = ClosedStep(network)
    generator = torch_generator(2, "images")
    for _ in range(CALLS_BEFORE + 3):  # the last ones traced
        images = torch.randn(6, 3, 32, 32, generator=generator, dtype=torch.float64)
        images = images.to(memory_format=torch.channels_last)
        labels = torch.randint(5, (6,), generator=generator)
        wanted = torch.autograd.grad(F.cross_entropy(plain(images), labels), list(plain.parameters()))
        for (name, _), ours, theirs in zip(
            plain.named_parameters(), closed.gradients(images, labels), wanted, strict=True
        ):
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-10 * max(1.0, float(theirs.abs().max()))), name
        assert network.state_dict().keys() == plain.state_dict().keys()
        for name, value in plain.state_dict().items():
            assert torch.allclose(network.state_dict()[name], value, rtol=1e-10, atol=1e-10), name
