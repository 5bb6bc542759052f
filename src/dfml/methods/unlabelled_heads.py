"""Heads on unlabelled images: one head per zoo model, distilled on real images of another domain.

No inversion, but no data-free method either: it stands outside the wall, as a challenger. That models may soft-label
images of anything is the idea of Labeled-Data-Free Meta-Learning (arXiv:2607.02850); its weighting of tasks is not
part of this.
"""

import torch
from torch import Tensor

from dfml.config.methods.heads import UnlabelledHeadsSettings
from dfml.data.images import load_images
from dfml.imaging.pixels import resized
from dfml.methods.base import Context, Fitted
from dfml.methods.heads import drawn, fit_heads


def fit(context: Context) -> Fitted:
    """Distil on the meta-train images of the setting ``dataset``; what they show is never looked at."""
    settings = UnlabelledHeadsSettings.model_validate(context.options)
    (folder,) = context.images
    pixels, _ = load_images(folder / "meta_train.npz").packed()
    pixels = pixels.to(context.job.device)

    def foreign(draws: torch.Generator) -> Tensor:
        return resized(drawn(pixels, settings, draws)[0], context.pool.canvas)

    return fit_heads(context, settings, foreign)
