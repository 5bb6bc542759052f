"""FREE with heads: a backbone distilled with one head per zoo model, from which BELL and replay start."""

import time

import torch
from torch import Tensor, nn

from dfml.config.methods.free_heads import FreeHeadsSettings
from dfml.config.methods.heads import HeadsSettings
from dfml.inversion.bank import ImageBank
from dfml.inversion.recover import BANK
from dfml.metalearning.heads import HeadsDistillation
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.questions import CHUNK, ask
from dfml.metalearning.variation import mix, recolour
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state, zero_head
from dfml.methods.free_loop import FreeLoop
from dfml.runtime.seeds import torch_generator


def fit(context: Context) -> Fitted:
    """Distil, then run FREE from the distilled backbone with a head of zeros."""
    settings = FreeHeadsSettings.model_validate(context.options)
    backbone, seconds, passes, history = _distil(context, settings.heads)
    zero_head(backbone)
    start = parameters_of(backbone)
    stages = {"heads": seconds}
    if settings.free is None:
        snapshots = [Snapshot(0, seconds, [cpu_state(start)])]
    else:
        loop = FreeLoop(context, settings.free, start)
        later, rows = loop.run()
        snapshots = [Snapshot(s.iteration, s.seconds + seconds, s.states) for s in later]
        history += [{**row, "seconds": row["seconds"] + seconds} for row in rows]
        stages |= loop.stages
        passes += loop.teacher_passes
    context.sub_checkpoint("heads").remove()
    return Fitted.of_learner(context, snapshots, teacher_passes=passes, history=history, stages=stages)


def _distil(context: Context, settings: HeadsSettings) -> tuple[nn.Module, float, int, list[dict[str, float]]]:
    """The distilled backbone, its seconds, the teacher passes and the history."""
    assert context.inversion is not None and context.inversion_settings is not None
    start = time.perf_counter()
    pool, device = context.pool, context.job.device
    draws = torch_generator(context.seed, "heads")
    questions = _questions(ImageBank.load(context.inversion / BANK, device), settings, draws)
    answers = ask(pool.models, questions)
    mean, std = pool.normalisation
    backbone = context.starting_learner(settings.start)
    distillation = HeadsDistillation(
        backbone,
        questions,
        answers,
        settings,
        crop_padding=context.inversion_settings.crop_padding,
        mean=mean,
        std=std,
        draws=draws,
    )
    checkpoint = context.sub_checkpoint("heads")
    state = checkpoint.load()
    history, before = [], 0.0
    if state is not None:
        distillation.load_state(state["distillation"])
        history, before = state["history"], state["seconds"]
    every = max(1, settings.steps // 20)
    with context.job.progress.task("heads", total=settings.steps, done=distillation.steps_done) as bar:
        while distillation.steps_done < settings.steps:
            loss = distillation.step()
            bar.advance(distillation=loss)
            if distillation.steps_done % every == 0 or distillation.steps_done == settings.steps:
                seconds = before + time.perf_counter() - start
                history.append({"iteration": 0, "seconds": seconds, "distillation": float(loss)})
                checkpoint.save({"distillation": distillation.state(), "history": history, "seconds": seconds})
    passes = len(pool) * -(-len(questions) // CHUNK)
    return backbone, history[-1]["seconds"], passes, history


def _questions(bank: ImageBank, settings: HeadsSettings, draws: torch.Generator) -> Tensor:
    images = bank.everything()[0]
    rows = torch.randint(0, len(images), (settings.questions,), generator=draws)
    questions = images[rows.to(images.device)].float() / 255
    if settings.recolour:
        questions = recolour(questions, draws)
    return mix(questions, draws) if settings.mix else questions
