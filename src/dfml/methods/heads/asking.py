"""What the methods with one head per zoo model share: asking, distilling, resuming (docs/method.md §7)."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfml.compute.placement import channels_last, send
from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import WallClock
from dfml.errors import DfmlError
from dfml.imaging.colour import mix, recolour
from dfml.jobs.loop import Loop
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, zero_head
from dfml.methods.heads.distillation import HeadsDistillation
from dfml.methods.heads.settings import HeadsAloneSettings, HeadsSettings
from dfml.networks.classifier import Classifier
from dfml.zoo.pool import PoolModel

CHUNK = 256


@torch.no_grad()
def ask(models: Sequence[PoolModel], images: Tensor) -> Tensor:
    """Logits of every model for every image, ``[models, n, ways]``; images ``[n, 3, side, side]`` in [0, 1]."""
    chunks = [channels_last(chunk) for chunk in images.split(CHUNK)]
    return torch.stack([torch.cat([model.logits(chunk) for chunk in chunks]) for model in models])


@dataclass(frozen=True)
class Questions:
    """Images that every model is asked, and how the backbone sees them.

    ``images`` ``[n, 3, canvas, canvas]`` in [0, 1]; ``mean`` and ``std`` ``[n, 3]``, or ``[3]`` for all of them.
    """

    images: Tensor
    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Distilled:
    """A distilled backbone with a head of zeros, and what it cost."""

    backbone: Classifier
    seconds: float
    teacher_passes: int
    history: list[dict[str, float]]


def distil(
    context: Context,
    settings: HeadsSettings,
    questions: Callable[[torch.Generator], Questions],
    *,
    crop_padding: int,
    section: str,
) -> Distilled:
    """Ask the whole pool, then train backbone and heads; continues where an interrupted run was saved.

    Args:
        context: the cell.
        settings: of the distillation.
        questions: makes them from the source of every random choice; called again by a resumed run, with the same
            result.
        crop_padding: largest shift of a question, pixels.
        section: dotted key of ``settings``, for messages.

    Raises:
        DfmlError: the loss is not finite.
    """
    clock = WallClock()
    generator = torch_generator(context.seed, "heads")
    asked = questions(generator)
    answers = ask(context.pool.models, asked.images)
    backbone = context.starting_learner(settings.start)
    distillation = HeadsDistillation(
        backbone,
        asked.images,
        answers,
        settings,
        crop_padding=crop_padding,
        mean=asked.mean,
        std=asked.std,
        generator=generator,
    )

    def check() -> None:
        if not bool(distillation.loss.isfinite()):
            raise DfmlError(
                f"the distillation with heads diverged by step {distillation.steps_done}; lower "
                f"`{section}.learning_rate`"
            )

    rows = Loop(
        name="heads",
        total=settings.steps,
        steps=lambda done: ({"distillation": distillation.step()} for _ in range(done, settings.steps)),
        moves=distillation,
        clock=clock,
        checkpoint=context.sub_checkpoint("heads"),
        job=context.job,
        every=max(1, settings.steps // 20),
        check=check,
        sparse=True,
        keep_end=True,
    ).run()
    # They are steps before the first iteration of a learner.
    history = [{**row, "iteration": 0} for row in rows]
    if context.job.device.type == "cuda":
        # It and its recorded step refer to each other; the memory of the questions is for what comes next.
        del distillation
        gc.collect()
    zero_head(backbone)
    passes = len(context.pool) * -(-len(asked.images) // CHUNK)
    return Distilled(backbone, history[-1]["seconds"], passes, history)


def fit_heads(context: Context, settings: HeadsAloneSettings, images: Callable[[torch.Generator], Tensor]) -> Fitted:
    """The distilled backbone as the learner.

    Args:
        context: the cell.
        settings: of the distillation.
        images: draws the questions before they are varied, ``[questions, 3, canvas, canvas]`` in [0, 1]. They belong
            to no data set of the pool, so they are normalised by the average over all of them.
    """

    def questions(generator: torch.Generator) -> Questions:
        return Questions(varied(images(generator), settings, generator), *context.pool.normalisation)

    found = distil(context, settings, questions, crop_padding=settings.crop_padding, section=context.method)
    context.sub_checkpoint("heads").remove()
    return Fitted.of_learner(
        context,
        [Snapshot(0, found.seconds, [cpu_state(dict(found.backbone.named_parameters()))])],
        teacher_passes=found.teacher_passes,
        history=found.history,
        stages={"heads": found.seconds},
    )


def drawn(images: Tensor, settings: HeadsSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of ``images`` ``[n, 3, side, side]`` uint8, with replacement: ``[questions, …]`` in [0, 1], and which."""
    rows = send(torch.randint(0, len(images), (settings.questions,), generator=generator), images.device)
    return images[rows].float() / 255, rows


def varied(images: Tensor, settings: HeadsSettings, generator: torch.Generator) -> Tensor:
    """The images, ``[n, 3, side, side]``, with other colours and pasted or blended, as the settings say."""
    if settings.recolour:
        images = recolour(images, generator)
    return mix(images, generator) if settings.mix else images
