"""What the methods with one head per zoo model share: making questions, asking, distilling, resuming."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dfml.artefacts.inversion import BANK
from dfml.compute.placement import send
from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import WallClock
from dfml.errors import DataError, DfmlError
from dfml.imaging.procedural import procedural
from dfml.inversion.bank import ImageBank
from dfml.jobs.loop import Loop, Quantities
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, zero_head
from dfml.methods.heads.distillation import HeadsDistillation
from dfml.methods.heads.questions import (
    Questions,
    ask,
    ask_some,
    draw_asked,
    drawn,
    passes,
    seen_at,
    to_bytes,
    varied,
)
from dfml.methods.heads.settings import BankHeadsSettings, HeadsSettings
from dfml.methods.history import preparation
from dfml.zoo.model import PoolModel

Maker = Callable[[torch.Generator], Questions]
"""Makes questions from the source of every random choice; a resumed run calls it again, with the same result."""


def fit_heads(context: Context, settings: HeadsSettings, questions: Maker) -> Fitted:
    """Ask the pool, then train backbone and heads; the learner is the backbone with a head of zeros.

    Continues where an interrupted run was saved.

    Args:
        context: the cell.
        settings: of the distillation.
        questions: what is asked.

    Raises:
        DataError: a service fails, or answers with something else than finite numbers.
        DfmlError: the loss is not finite.
    """
    clock = WallClock()
    generator = torch_generator(context.seed, "heads")
    asked = questions(generator)
    models, count, service = context.pool.models, settings.models_per_question, _AskedService(context, clock)
    who = None
    if count is not None and count < len(models):
        # From a stream of its own, so that the questions are those that all models would be asked.
        who = draw_asked(len(asked.images), len(models), count, torch_generator(context.seed, "heads", "who"))
        answers = ask_some(models, asked.images, who, statistics=settings.statistics, service=service.ask)
        teacher_passes = passes(who.flatten().bincount())
    else:
        answers = ask(models, asked.images, statistics=settings.statistics, service=service.ask)
        teacher_passes = len(models) * passes(len(asked.images))
    backbone = context.starting_learner(settings.start)
    asked = seen_at(context.side, asked)
    distillation = HeadsDistillation(
        backbone, asked, answers, settings, who=who, models=len(models), generator=generator
    )
    del answers  # they grow with the pool, and the distillation has its own form of them

    def check() -> None:
        if not bool(distillation.loss.isfinite()):
            raise DfmlError(
                f"the distillation with heads diverged by step {distillation.steps_done}; lower "
                f"`{context.method}.learning_rate`"
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
        shown=context.history.prepare,
    ).run()
    distillation.finish()
    history = preparation(rows)
    zero_head(backbone)
    seconds = history[-1]["seconds"]
    return Fitted.of_learner(
        context,
        [Snapshot(0, seconds, [cpu_state(dict(backbone.named_parameters()))])],
        teacher_passes=teacher_passes,
        history=history,
        stages={"heads": seconds},
    )


class _AskedService:
    """Asks a service, which may be slow, cost money or fail: with a bar, and no answer is asked for twice."""

    MOVES = ("answers",)

    def __init__(self, context: Context, clock: WallClock) -> None:
        self.context, self.clock = context, clock
        self.answers = torch.zeros(0)

    def ask(self, model: PoolModel, batches: Sequence[Tensor]) -> Tensor:
        """What a model answers, see :data:`dfml.methods.heads.questions.Asker`."""
        sizes = [len(batch) for batch in batches]
        self.answers = torch.zeros(sum(sizes), len(model.class_ids), device=batches[0].device)

        def steps(done: int) -> Iterator[Quantities]:
            rows = self.answers.split(sizes)
            for own, batch in zip(rows[done:], batches[done:], strict=True):
                try:
                    own.copy_(model.logits(batch))
                except DataError as error:
                    raise DataError(f"{error}; its answers so far are kept: run the same again for the rest") from error
                yield {}

        Loop(
            name=f"asking {model.architecture}",
            total=len(batches),
            steps=steps,
            moves=self,
            clock=self.clock,
            checkpoint=self.context.sub_checkpoint(f"asked{model.index}"),
            job=self.context.job,
            every=1,
            sparse=True,
        ).run()
        return self.answers


def of_the_bank(context: Context, settings: BankHeadsSettings) -> Maker:
    """Recovered images, as many of them procedural ones as the settings say, all of them varied together.

    Each is normalised for the backbone as the data set of the class that it was recovered for (F19).
    """
    assert context.inversion is not None
    path, pool = context.inversion / BANK, context.pool

    def questions(generator: torch.Generator) -> Questions:
        images, labels, _ = ImageBank.load(path, context.job.device).everything()
        foreign = round(settings.procedural * settings.questions)
        images, rows = drawn(images, settings.questions - foreign, generator)
        mean, std = (values[labels[rows]] for values in pool.class_normalisation)
        if foreign:
            other = procedural_questions(context, foreign, generator)
            order = send(torch.randperm(settings.questions, generator=generator), images.device)
            images, mean, std = (
                torch.cat(pair)[order] for pair in ((images, other.images), (mean, other.mean), (std, other.std))
            )
        return Questions(varied(images, settings, generator), mean, std)

    return questions


def procedural_questions(context: Context, count: int, generator: torch.Generator) -> Questions:
    """Procedural images before they are varied."""
    images = to_bytes(procedural(count, context.pool.canvas, generator))
    return foreign_questions(context, send(images, context.job.device))


def foreign_questions(context: Context, images: Tensor) -> Questions:
    """Images of no data set of the pool: normalised for the backbone by the average over all of them."""
    mean, std = (values.expand(len(images), 3) for values in context.pool.normalisation)
    return Questions(images, mean, std)
