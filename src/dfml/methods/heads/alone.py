"""One head per zoo model and nothing after it, on questions of several kinds (docs/methods/heads.md).

On recovered images it is what ``free_heads`` starts its loop from; on procedural ones no inversion is needed at all. On
uniform noise it is the control: what that learner can do, it owes to the models' answers and its starting point, not to
the images. On unlabelled real images of another domain it is a challenger that stands outside the data-free wall; that
models may soft-label images of anything is the idea of Labeled-Data-Free Meta-Learning (arXiv:2607.02850), whose
weighting of tasks is not part of this.
"""

from dataclasses import replace

import torch

from dfml.compute.placement import send
from dfml.data.images import load_images
from dfml.imaging.pixels import resized
from dfml.methods.base import Context, Fitted
from dfml.methods.heads.fitting import fit_heads, foreign_questions, of_the_bank, procedural_questions
from dfml.methods.heads.questions import Questions, drawn, to_bytes, varied
from dfml.methods.heads.settings import (
    BankHeadsSettings,
    NoiseHeadsSettings,
    ProceduralHeadsSettings,
    UnlabelledHeadsSettings,
)


def fit_bank(context: Context) -> Fitted:
    """Distil on recovered images, or on those and procedural ones."""
    settings = context.own(BankHeadsSettings)
    return fit_heads(context, settings, of_the_bank(context, settings))


def fit_procedural(context: Context) -> Fitted:
    """Distil on procedural images alone."""
    settings = context.own(ProceduralHeadsSettings)

    def questions(generator: torch.Generator) -> Questions:
        found = procedural_questions(context, settings.questions, generator)
        return replace(found, images=varied(found.images, settings, generator))

    return fit_heads(context, settings, questions)


def fit_noise(context: Context) -> Fitted:
    """Distil on noise."""
    settings = context.own(NoiseHeadsSettings)
    size = (settings.questions, 3, context.pool.canvas, context.pool.canvas)

    def questions(generator: torch.Generator) -> Questions:
        noise = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        return foreign_questions(context, varied(send(noise, context.job.device), settings, generator))

    return fit_heads(context, settings, questions)


def fit_unlabelled(context: Context) -> Fitted:
    """Distil on the meta-train images of the setting ``dataset``; what they show is never looked at."""
    settings = context.own(UnlabelledHeadsSettings)
    (folder,) = context.images
    pixels, _ = load_images(folder / "meta_train.npz").packed()
    pixels = pixels.to(context.job.device)

    def questions(generator: torch.Generator) -> Questions:
        images, _ = drawn(pixels, settings.questions, generator)
        if images.shape[-1] != context.pool.canvas:
            images = to_bytes(resized(images.float() / 255, context.pool.canvas))
        return foreign_questions(context, varied(images, settings, generator))

    return fit_heads(context, settings, questions)
