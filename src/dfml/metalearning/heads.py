"""Distillation with one head per zoo model on a shared backbone (docs/method.md §7).

Every image is a valid question to every model, whatever model it was recovered from. With a head of its own, each
model teaches the shared features without contradicting the others, which number their classes differently.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.config.methods import HeadsSettings
from dfml.data.augment import random_crop_flip
from dfml.runtime.optimisers import Adam
from dfml.zoo.pool import Pool


class HeadsDistillation:
    """The backbone, the heads, their optimiser and the questions.

    Args:
        backbone: an episodic network; trained in place.
        pool: the models that answer.
        images: recovered images ``[n, 3, side, side]`` uint8, on the device.
        settings: of the distillation.
        crop_padding: of the random crop, pixels.
        mean, std: the backbone's normalisation, ``[3]`` each.
        draws: source of every random choice (a CPU generator).
    """

    def __init__(
        self,
        backbone: nn.Module,
        pool: Pool,
        images: Tensor,
        settings: HeadsSettings,
        *,
        crop_padding: int,
        mean: Tensor,
        std: Tensor,
        draws: torch.Generator,
    ) -> None:
        self.backbone, self.pool, self.images, self.settings = backbone, pool, images, settings
        self.crop_padding, self.mean, self.std, self.draws = crop_padding, mean, std, draws
        features = int(backbone.feature_size)
        weights = torch.randn(len(pool), features, pool.ways, generator=draws) / (2 * math.sqrt(features))
        self.weights = weights.to(images.device).requires_grad_()
        self.biases = torch.zeros(len(pool), 1, pool.ways, device=images.device).requires_grad_()
        self.trained = [p for name, p in backbone.named_parameters() if not name.startswith("head.")]
        self.optimiser = Adam([*self.trained, self.weights, self.biases], learning_rate=settings.learning_rate)
        self.step_count = 0
