"""Images that all models are asked, and what they answer (docs/method.md §7)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.compute.placement import channels_last, send
from dfml.imaging.colour import mix, recolour
from dfml.imaging.crop_flip import crop_flip, draw_crop_flips
from dfml.methods.heads.settings import HeadsSettings
from dfml.zoo.model import PoolModel

TOGETHER = 256
"""Questions that are asked at once; where models normalise by the questions' own statistics, those of so many."""

VARIED_TOGETHER = 2048

ABSENT = -1e4
"""The logit of an output that a model lacks beside models of more classes: its probability is 0 in float32."""


@dataclass(frozen=True)
class Questions:
    """Images that every model is asked, and how the backbone sees them.

    ``images`` ``[n, 3, canvas, canvas]`` uint8; ``mean`` and ``std`` ``[n, 3]``.
    """

    images: Tensor
    mean: Tensor
    std: Tensor


@torch.no_grad()
def ask(models: Sequence[PoolModel], images: Tensor, *, statistics: str) -> Tensor:
    """Logits of every model for every image, ``[models, n, ways]``, with :data:`ABSENT` for outputs that a model lacks.

    Args:
        models: who is asked; with ``batch`` they must give their weights.
        images: uint8 ``[n, 3, side, side]``, in an order of no meaning.
        statistics: ``stored``, or ``batch`` to normalise by those of the images that are asked together.
    """
    chunks = [channels_last(chunk.float() / 255) for chunk in images.tensor_split(-(-len(images) // TOGETHER))]
    asked = models if statistics == "stored" else [_by_the_batch(model) for model in models]
    answers = [torch.cat([model.logits(chunk) for chunk in chunks]) for model in asked]
    ways = max(logits.shape[1] for logits in answers)
    return torch.stack([F.pad(logits, (0, ways - logits.shape[1]), value=ABSENT) for logits in answers])


def _by_the_batch(model: PoolModel) -> PoolModel:
    """The same model without its stored statistics."""
    network = copy.deepcopy(model.module)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return replace(model, network=network)


def varied(images: Tensor, settings: HeadsSettings, generator: torch.Generator) -> Tensor:
    """Images as they are asked: in other colours, pasted or blended, shifted and mirrored, as the settings say.

    Models and backbone see the same image: what a model says of the image before it is moved need not hold after.

    Args:
        images: uint8 ``[n, 3, side, side]``, in an order of no meaning.
        settings: of the distillation.
        generator: source of every random choice (a CPU generator).

    Returns:
        uint8 images of the same shape.
    """
    return torch.cat([_varied(chunk.float() / 255, settings, generator) for chunk in images.split(VARIED_TOGETHER)])


def _varied(images: Tensor, settings: HeadsSettings, generator: torch.Generator) -> Tensor:
    if settings.recolour:
        images = recolour(images, generator)
    if settings.mix:
        images = mix(images, generator)
    if settings.crop_padding:
        moves = draw_crop_flips(
            images=len(images), padding=settings.crop_padding, flip=True, per_sample=True, generator=generator
        )
        images = crop_flip(images, moves.to(images.device))
    return to_bytes(images)


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def drawn(images: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` of ``images``, with replacement, and which."""
    rows = send(torch.randint(0, len(images), (count,), generator=generator), images.device)
    return images[rows], rows
