"""One place that turns a description into a network, and what a forward pass of it costs."""

import torch
from torch import nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.networks.conv4 import Conv4
from dfml.networks.initialise import initialise
from dfml.networks.resnet import ResNet


def build_network(spec: NetworkSpec, *, generator: torch.Generator | None = None, episodic: bool = False) -> nn.Module:
    """Build a classifier with ``features(images)``, ``head`` and ``feature_size``.

    Args:
        spec: family, width, ways and side; ``side=None`` is Conv4's any-resolution form.
        generator: source of the initial weights; without it the weights are about to be loaded.
        episodic: batch norms use each batch's own statistics (see :class:`EpisodicBatchNorm2d`).
    """
    # PyTorch's own initialisation is replaced anyway; forked, it leaves the global random numbers alone.
    with torch.random.fork_rng(devices=[]):
        network: nn.Module
        if spec.family == "conv4":
            network = Conv4(ways=spec.ways, width=spec.width, side=spec.side, episodic=episodic)
        else:
            blocks = {"resnet10": 1, "resnet18": 2}[spec.family]
            network = ResNet(
                blocks=blocks, ways=spec.ways, width=spec.width, stem_relu=spec.stem_relu, episodic=episodic
            )
    if generator is not None:
        initialise(network, generator)
    return network


def outline(spec: NetworkSpec, *, episodic: bool = False) -> nn.Module:
    """The network that `build_network` would build, with tensors that have shapes and no content.

    However large a network a file asks for, its outline costs nothing.
    """
    with torch.device("meta"):
        return build_network(spec, episodic=episodic)


@torch.no_grad()
def forward_macs(network: nn.Module, side: int) -> int:
    """Multiply-adds of the features and head for one image ``[3, side, side]``: convolutions and linear layers."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts.append(output[0].numel() * module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            counts.append(module.weight.numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        device = next(network.parameters()).device
        network(torch.zeros(2, 3, side, side, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
