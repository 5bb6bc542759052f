"""Heads on noise: one head per zoo model, distilled on uniform noise; the control of ``free_heads``.

What this learner can do, it owes to the models' answers and its starting point, not to the images.
"""

import torch
from torch import Tensor

from dfml.compute.placement import send
from dfml.config.methods.heads import NoiseHeadsSettings
from dfml.methods.base import Context, Fitted
from dfml.methods.heads import fit_heads


def fit(context: Context) -> Fitted:
    """Distil on noise."""
    settings = NoiseHeadsSettings.model_validate(context.options)
    side = context.pool.canvas

    def noise(draws: torch.Generator) -> Tensor:
        return send(torch.rand(settings.questions, 3, side, side, generator=draws), context.job.device)

    return fit_heads(context, settings, noise)
