"""The generator that turns latents into images (docs/method.md §3.1)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.compute.placement import channels_last


class Generator(nn.Module):
    """Latents ``[B, latent]`` to images ``[B, 3, side, side]`` in [0, 1]; always uses batch statistics.

    A linear layer to a quarter of the side, then two steps of nearest-neighbour upsampling and convolution. Of a side
    that four does not divide, which only models from elsewhere have, the quarter is rounded up and the images are cut.
    """

    def __init__(self, *, latent: int = 256, width: int = 64, side: int = 32) -> None:
        super().__init__()
        self.latent, self.width, self.side = latent, width, side
        self.quarter = -(-side // 4)
        self.project = nn.Linear(latent, 2 * width * self.quarter**2)
        self.norm0 = nn.BatchNorm2d(2 * width, track_running_stats=False)
        self.conv1 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * width, track_running_stats=False)
        self.conv2 = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width, track_running_stats=False)
        self.conv3 = nn.Conv2d(width, 3, 3, padding=1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights (PyTorch's default laws: uniform in ±1/√fan_in) from ``generator``."""
        weights = [
            (self.project.weight, self.latent),
            (self.project.bias, self.latent),
            (self.conv1.weight, 9 * self.conv1.in_channels),
            (self.conv2.weight, 9 * self.conv2.in_channels),
            (self.conv3.weight, 9 * self.conv3.in_channels),
            (self.conv3.bias, 9 * self.conv3.in_channels),
        ]
        for parameter, fan_in in weights:
            assert parameter is not None
            bound = 1 / math.sqrt(fan_in)
            parameter.uniform_(-bound, bound, generator=generator)
        for norm in (self.norm0, self.norm1, self.norm2):
            norm.reset_parameters()

    def forward(self, latents: Tensor) -> Tensor:
        """Images of the latents."""
        x = channels_last(self.norm0(self.project(latents).view(-1, 2 * self.width, self.quarter, self.quarter)))
        x = F.leaky_relu(self.norm1(convolve_upsampled(x, self.conv1.weight)), 0.2)
        x = F.leaky_relu(self.norm2(convolve_upsampled(x, self.conv2.weight)), 0.2)
        return torch.sigmoid(self.conv3(x)[..., : self.side, : self.side])


def convolve_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """The 3×3 convolution, padded by one, of ``x`` enlarged twice by repeating pixels.

    Every output pixel sees only 2×2 different input pixels, so one transposed convolution of stride 2 with a 4×4 kernel
    (the 3×3 one summed over the repeated pixels) gives the same in 4/9 of the multiply-adds, and the enlarged tensor
    is never made.

    Args:
        x: ``[B, inputs, H, W]``.
        weight: of the convolution, ``[outputs, inputs, 3, 3]``.

    Returns:
        ``[B, outputs, 2H, 2W]``.
    """
    padded = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    kernel = rows[..., 1:] + rows[..., :-1]
    return F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2, padding=1)
