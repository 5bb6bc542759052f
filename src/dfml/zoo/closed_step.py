"""A training step of a zoo's Conv4 by closed forms, without autograd (:mod:`dfml.networks.conv4_passes`)."""

import torch
from torch import Tensor

from dfml.compute.traced import Traced
from dfml.networks.conv4 import Conv4
from dfml.networks.conv4_passes import NAMES, Weights, backward, forward, weights_of
from dfml.networks.pieces import EPS, values_of_a_channel

MOMENTUM = 0.1  # of torch's batch norm


class ClosedStep:
    """Gradients of one Conv4 in training; the running statistics of its batch norms follow, as in torch.

    The biases of convolutions, which batch norm takes away, have gradients of exactly zero.

    Args:
        network: in training mode, on a CPU.
    """

    def __init__(self, network: Conv4) -> None:
        self.network = network
        self._parameters = dict(network.named_parameters())
        self._state = network.state_dict()  # shares memory with the network
        self._nothing = torch.zeros_like(self._state["blocks.0.bias"])

    @torch.no_grad()
    def gradients(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Those of the mean cross-entropy, in the order of the parameters.

        Args:
            images: normalised, ``[B, 3, side, side]``, channels last.
            labels: ``[B]``.
        """
        weights = weights_of(self._parameters)
        gradients, statistics = _lesson(images, labels, weights, grid=self.network.grid)
        for block, (mean, variance) in enumerate(statistics):
            bias, norm = self._state[f"blocks.{4 * block}.bias"], f"blocks.{4 * block + 1}"
            self._state[f"{norm}.running_mean"].lerp_(mean + bias, MOMENTUM)
            self._state[f"{norm}.running_var"].lerp_(variance, MOMENTUM)
            self._state[f"{norm}.num_batches_tracked"].add_(1)
        found = dict(zip(NAMES, gradients, strict=True))
        return [found.get(name, self._nothing) for name in self._parameters]


def lesson(
    images: Tensor, labels: Tensor, weights: Weights, *, grid: int
) -> tuple[Weights, tuple[tuple[Tensor, Tensor], ...]]:
    """Gradients of the mean cross-entropy, and of each block the mean and unbiased variance of its convolution."""
    state = forward(images, images, weights, grid=grid)
    statistics = []
    for block in state.blocks:
        count = values_of_a_channel(block.z)  # traced, the quotient of two of them would be of single precision
        statistics.append((block.mean * block.sign, (block.rstd**-2 - EPS) * count / (count - 1)))
    return backward(state, labels, weights, grid=grid).gradient, tuple(statistics)


_lesson = Traced(lesson)
