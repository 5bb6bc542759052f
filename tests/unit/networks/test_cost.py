"""Multiply-adds of one forward pass."""

import pytest
import torch
from torch import nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.networks.build import build_network, forward_macs


def test_a_linear_layer_is_counted_for_every_token_that_goes_through_it():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(3, 7), nn.Linear(7, 5)

        def forward(self, images):
            return self.head(self.mix(images.flatten(2).transpose(1, 2)).mean(1))

    assert forward_macs(Tokens(), 4) == 16 * 3 * 7 + 7 * 5


def test_conv4_by_hand():
    network = build_network(NetworkSpec(family="conv4", width=4, ways=3, side=16), episodic=True)
    convolutions = 9 * (3 * 4 * 16**2 + 4 * 4 * (8**2 + 4**2 + 2**2))
    assert forward_macs(network, 16) == convolutions + 4 * 3


def test_published_figures():
    conv4 = build_network(NetworkSpec(family="conv4", width=32, ways=5, side=32))
    assert forward_macs(conv4, 32) == pytest.approx(4e6, rel=0.05)
    resnet = build_network(NetworkSpec(family="resnet10", width=16, ways=5, side=32))
    assert forward_macs(resnet, 32) == pytest.approx(253e6 / 16, rel=0.05)


def test_counting_leaves_no_hook_and_no_gradient():
    network = build_network(NetworkSpec(family="conv4", width=4, ways=3, side=16))
    forward_macs(network, 16)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(p.grad is None for p in network.parameters())


def test_hooks_go_also_when_the_forward_fails():
    network = build_network(NetworkSpec(family="conv4", width=4, ways=3, side=16))
    with pytest.raises(Exception, match="16-pixel"):
        forward_macs(network, 20)
    assert not any(module._forward_hooks for module in network.modules())


def test_stored_statistics_are_not_moved():
    network = build_network(NetworkSpec(family="conv4", width=4, ways=3, side=16)).eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    forward_macs(network, 16)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
