"""Images that all models are asked, and what they answer (docs/method.md §7)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dfml.compute.placement import channels_last, send
from dfml.imaging.colour import mix, recolour
from dfml.imaging.crop_flip import crop_flip, draw_crop_flips
from dfml.imaging.pixels import resized
from dfml.methods.heads.settings import HeadsSettings
from dfml.zoo.model import PoolModel

TOGETHER = 256
"""Questions that are asked at once; where models normalise by the questions' own statistics, those of so many."""

VARIED_TOGETHER = 2048

_STORED = ("track_running_stats", "running_mean", "running_var", "num_batches_tracked")

ABSENT = -1e4
"""The logit of an output that a model lacks beside models of more classes: its probability is 0 in float32."""


@dataclass(frozen=True)
class Questions:
    """Images that every model is asked, and how the backbone sees them.

    ``images`` ``[n, 3, side, side]`` uint8; ``mean`` and ``std`` ``[n, 3]``.
    """

    images: Tensor
    mean: Tensor
    std: Tensor


Asker = Callable[[PoolModel, Sequence[Tensor]], Tensor]
"""Asks one model: from batches of images in [0, 1], ``[B, 3, side, side]`` each, to its logits ``[n, outputs]``."""


def at_once(model: PoolModel, batches: Sequence[Tensor]) -> Tensor:
    """The model's answers, one batch after another."""
    return torch.cat([model.logits(batch) for batch in batches])


@torch.no_grad()
def ask(models: Sequence[PoolModel], images: Tensor, *, statistics: str, service: Asker = at_once) -> Tensor:
    """Logits of every model for every image, ``[models, n, ways]``, with :data:`ABSENT` for outputs that a model lacks.

    Args:
        models: who is asked; with ``batch`` they must give their weights, but for services.
        images: uint8 ``[n, 3, side, side]``, in an order of no meaning.
        statistics: ``stored``, or ``batch`` to normalise by those of the images that are asked together.
        service: asks the models that give their answers only.
    """
    chunks = _chunks(images)
    answers = _none_yet(models, images, len(models), len(images))
    for own, model in zip(answers, models, strict=True):
        own[:, : len(model.class_ids)] = _asked(model, chunks, statistics, service)
    return answers


@torch.no_grad()
def ask_some(
    models: Sequence[PoolModel], images: Tensor, who: Tensor, *, statistics: str, service: Asker = at_once
) -> Tensor:
    """As :func:`ask`, but each image is answered by the models in its row of ``who`` alone.

    Args:
        models: among whom those asked are.
        images, service: as for :func:`ask`.
        who: positions of models, ``[n, count]`` on the CPU, as :func:`draw_asked` gives them.
        statistics: as for :func:`ask`; a model's batch is of the questions that it is asked.

    Returns:
        Logits ``[count, n, ways]``.
    """
    count = who.shape[1]
    answers = _none_yet(models, images, who.numel())
    by_model = who.flatten().argsort(stable=True).split(who.flatten().bincount(minlength=len(models)).tolist())
    for model, places in zip(models, by_model, strict=True):
        if len(places):
            chunks = _chunks(images[send(places // count, images.device)])
            answers[send(places, images.device), : len(model.class_ids)] = _asked(model, chunks, statistics, service)
    return answers.view(len(images), count, -1).transpose(0, 1)


def draw_asked(questions: int, models: int, count: int, generator: torch.Generator) -> Tensor:
    """Which ``count`` models answer each question, ``[questions, count]``: distinct ones, and all about as often."""
    at_once = models // count
    shuffles = [torch.randperm(models, generator=generator) for _ in range(-(-questions // at_once))]
    return torch.cat([order[: at_once * count].view(at_once, count) for order in shuffles])[:questions]


def passes(questions: int | Tensor) -> int:
    """Batches in which a model is asked so many questions; of several models the sum."""
    return int((-(-torch.as_tensor(questions) // TOGETHER)).sum())


def _chunks(images: Tensor) -> list[Tensor]:
    return [channels_last(chunk.float() / 255) for chunk in images.tensor_split(passes(len(images)))]


def _none_yet(models: Sequence[PoolModel], like: Tensor, *size: int) -> Tensor:
    ways = max(len(model.class_ids) for model in models)
    return torch.full((*size, ways), ABSENT, device=like.device)


def _asked(model: PoolModel, chunks: Sequence[Tensor], statistics: str, service: Asker) -> Tensor:
    if model.answers_only:
        return service(model, chunks)
    if statistics == "stored":
        return at_once(model, chunks)
    network = model.module
    with _by_the_batch(network):
        return at_once(model, chunks)  # the same network as long as it is held here


@contextmanager
def _by_the_batch(network: nn.Module) -> Iterator[None]:
    """Have a network normalise by the statistics of each batch; afterwards it has its stored ones again.

    The network itself, as not every module of somebody's own can be copied.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [[getattr(norm, name) for name in _STORED] for norm in norms]
    try:
        for norm in norms:
            for name, none in zip(_STORED, (False, None, None, None), strict=True):
                setattr(norm, name, none)
        yield
    finally:
        for norm, values in zip(norms, kept, strict=True):
            for name, value in zip(_STORED, values, strict=True):
                setattr(norm, name, value)


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


def seen_at(side: int | None, asked: Questions) -> Questions:
    """The questions at the side at which the backbone sees them; None leaves them at that at which they were asked."""
    if side in (None, asked.images.shape[-1]):
        return asked
    chunks = asked.images.split(VARIED_TOGETHER)
    return replace(asked, images=torch.cat([to_bytes(resized(chunk.float() / 255, side)) for chunk in chunks]))


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def drawn(images: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` of ``images``, with replacement, and which."""
    rows = send(torch.randint(0, len(images), (count,), generator=generator), images.device)
    return images[rows], rows
