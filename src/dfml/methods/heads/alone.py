"""Heads without inversion: one head per zoo model, distilled on images that no model gave.

On uniform noise it is the control of ``free_heads``: what that learner can do, it owes to the models' answers and its
starting point, not to the images. On unlabelled real images of another domain it is a challenger that stands outside
the data-free wall; that models may soft-label images of anything is the idea of Labeled-Data-Free Meta-Learning
(arXiv:2607.02850), whose weighting of tasks is not part of this.
"""

import torch
from torch import Tensor

from dfml.compute.placement import send
from dfml.data.images import load_images
from dfml.imaging.pixels import resized
from dfml.methods.base import Context, Fitted
from dfml.methods.heads.asking import drawn, fit_heads
from dfml.methods.heads.settings import NoiseHeadsSettings, UnlabelledHeadsSettings


def fit_noise(context: Context) -> Fitted:
    """Distil on noise."""
    settings = context.own(NoiseHeadsSettings)
    side = context.pool.canvas

    def noise(generator: torch.Generator) -> Tensor:
        return send(torch.rand(settings.questions, 3, side, side, generator=generator), context.job.device)

    return fit_heads(context, settings, noise)


def fit_unlabelled(context: Context) -> Fitted:
    """Distil on the meta-train images of the setting ``dataset``; what they show is never looked at."""
    settings = context.own(UnlabelledHeadsSettings)
    (folder,) = context.images
    pixels, _ = load_images(folder / "meta_train.npz").packed()
    pixels = pixels.to(context.job.device)

    def foreign(generator: torch.Generator) -> Tensor:
        return resized(drawn(pixels, settings, generator)[0], context.pool.canvas)

    return fit_heads(context, settings, foreign)
