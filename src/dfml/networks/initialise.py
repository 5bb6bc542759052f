"""Initialisation shared by the classifier networks."""

import math

import torch
from torch import nn


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


def _uniform_bias(bias: nn.Parameter | None, fan_in: int, generator: torch.Generator) -> None:
    if bias is not None:
        bound = 1 / math.sqrt(fan_in)
        bias.uniform_(-bound, bound, generator=generator)
