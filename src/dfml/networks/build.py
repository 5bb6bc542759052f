"""One place that turns a description into a network, and what a forward pass of it costs."""

import math

import torch
from torch import Tensor, nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.networks.classifier import Classifier
from dfml.networks.conv4 import Conv4
from dfml.networks.custom import build_own
from dfml.networks.resnet import BLOCKS_PER_STAGE, ResNet


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of a classifier from ``generator``.

    Convolution weights follow N(0, 2 / (k² · C_out)) (docs/method.md §2.1); convolution biases and linear layers follow
    PyTorch's default (uniform in ±1/√fan_in); batch norms start at scale 1, shift 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            module.weight.normal_(0, math.sqrt(2 / (kernel * module.out_channels)), generator=generator)
            _uniform_bias(module.bias, kernel * module.in_channels, generator)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            module.weight.uniform_(-bound, bound, generator=generator)
            _uniform_bias(module.bias, module.in_features, generator)


def _uniform_bias(bias: Tensor | None, fan_in: int, generator: torch.Generator) -> None:
    if bias is not None:
        bound = 1 / math.sqrt(fan_in)
        bias.uniform_(-bound, bound, generator=generator)


def build_network(spec: NetworkSpec, *, generator: torch.Generator | None = None, episodic: bool = False) -> Classifier:
    """Build a classifier with ``features(images)``, ``head`` and ``feature_size``.

    Args:
        spec: family, width, ways, side and grid; ``side=None`` is Conv4's any-resolution form.
        generator: source of the initial weights; without it the weights are about to be loaded.
        episodic: batch norms use each batch's own statistics (see :class:`EpisodicBatchNorm2d`).

    Raises:
        DfmlError: a network of somebody's own cannot be built (:func:`dfml.networks.custom.build_own`).
    """
    if spec.code is not None:
        return build_own(spec, generator=generator, episodic=episodic)
    # PyTorch's own initialisation is replaced anyway; forked, it leaves the global random numbers alone.
    with torch.random.fork_rng(devices=[]):
        network: Classifier
        if spec.family == "conv4":
            network = Conv4(ways=spec.ways, width=spec.width, side=spec.side, grid=spec.grid, episodic=episodic)
        else:
            blocks = BLOCKS_PER_STAGE[spec.family]
            network = ResNet(
                blocks=blocks, ways=spec.ways, width=spec.width, stem_relu=spec.stem_relu, episodic=episodic
            )
    if generator is not None:
        initialise(network, generator)
    return network


def outline(spec: NetworkSpec, *, episodic: bool = False) -> Classifier:
    """The network that `build_network` would build, with tensors that have shapes and no content.

    However large a network a file asks for, its outline costs nothing.
    """
    with torch.device("meta"):
        return build_network(spec, episodic=episodic)


@torch.no_grad()
def forward_macs(network: nn.Module, side: int) -> int:
    """Multiply-adds of the features and head for one image ``[3, side, side]``: convolutions and linear layers.

    Products that are no layers, such as those of attention, are not counted.
    """
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts.append(output[0].numel() * module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            counts.append(output[0].numel() * module.in_features)  # which may be one of many tokens

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        device = next(network.parameters()).device
        network(torch.zeros(2, 3, side, side, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
