"""The generator that turns latents into images (docs/method.md §3.1)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Generator(nn.Module):
    """Latents ``[B, latent]`` to images ``[B, 3, side, side]`` in [0, 1]; always uses batch statistics.

    A linear layer to a quarter of the side, then two steps of nearest-neighbour upsampling and convolution.
    """

    def __init__(self, *, latent: int = 256, width: int = 64, side: int = 32) -> None:
        super().__init__()
        self.latent, self.width, self.side = latent, width, side
        self.project = nn.Linear(latent, 2 * width * (side // 4) ** 2)
        self.norm0 = nn.BatchNorm2d(2 * width, track_running_stats=False)
        self.conv1 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * width, track_running_stats=False)
        self.conv2 = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width, track_running_stats=False)
        self.conv3 = nn.Conv2d(width, 3, 3, padding=1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights (PyTorch's default laws: uniform in ±1/√fan_in) from ``generator``."""
        for parameter, fan_in in (
            (self.project.weight, self.latent),
            (self.project.bias, self.latent),
            (self.conv1.weight, 9 * self.conv1.in_channels),
            (self.conv2.weight, 9 * self.conv2.in_channels),
            (self.conv3.weight, 9 * self.conv3.in_channels),
            (self.conv3.bias, 9 * self.conv3.in_channels),
        ):
            bound = 1 / math.sqrt(fan_in)
            parameter.uniform_(-bound, bound, generator=generator)
        for norm in (self.norm0, self.norm1, self.norm2):
            norm.reset_parameters()

    def forward(self, latents: Tensor) -> Tensor:
        """Images of the latents."""
        quarter = self.side // 4
        x = self.norm0(self.project(latents).view(-1, 2 * self.width, quarter, quarter))
        x = F.leaky_relu(self.norm1(self.conv1(F.interpolate(x, scale_factor=2.0))), 0.2)
        x = F.leaky_relu(self.norm2(self.conv2(F.interpolate(x, scale_factor=2.0))), 0.2)
        return torch.sigmoid(self.conv3(x))
