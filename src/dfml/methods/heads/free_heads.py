"""FREE with heads: a backbone distilled with one head per zoo model, from which BELL and replay start."""

import torch

from dfml.artefacts.inversion import BANK
from dfml.inversion.bank import ImageBank
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.base import Context, Fitted, Snapshot, cpu_state
from dfml.methods.free.loop import FreeLoop
from dfml.methods.heads.asking import Questions, distil, drawn, varied
from dfml.methods.heads.settings import FreeHeadsSettings, HeadsSettings
from dfml.zoo.pool import Pool


def fit(context: Context) -> Fitted:
    """Distil on the recovered images, then run FREE from the distilled backbone with a head of zeros."""
    settings = context.own(FreeHeadsSettings)
    assert context.inversion is not None and context.inversion_settings is not None
    path, crop_padding = context.inversion / BANK, context.inversion_settings.crop_padding

    def questions(generator: torch.Generator) -> Questions:
        return bank_questions(ImageBank.load(path, context.job.device), context.pool, settings.heads, generator)

    found = distil(context, settings.heads, questions, crop_padding=crop_padding, section="free_heads.heads")
    start, seconds = parameters_of(found.backbone), found.seconds
    passes, history, stages = found.teacher_passes, found.history, {"heads": seconds}
    episodes = None
    if settings.free is None:
        snapshots = [Snapshot(0, seconds, [cpu_state(start)])]
    else:
        loop = FreeLoop(context, settings.free, start)
        later, rows = loop.run()
        snapshots = [Snapshot(s.iteration, s.seconds + seconds, s.states) for s in later]
        history += [{**row, "seconds": row["seconds"] + seconds} for row in rows]
        stages |= loop.stages
        passes += loop.teacher_passes
        episodes = loop.train_episodes
    context.sub_checkpoint("heads").remove()
    return Fitted.of_learner(
        context, snapshots, teacher_passes=passes, train_episodes=episodes, history=history, stages=stages
    )


def bank_questions(bank: ImageBank, pool: Pool, settings: HeadsSettings, generator: torch.Generator) -> Questions:
    """Images of the bank, varied; each is normalised as the data set of the class it was recovered for (F19)."""
    images, labels, _ = bank.everything()
    questions, rows = drawn(images, settings, generator)
    mean, std = (values[labels[rows]] for values in pool.class_normalisation)
    return Questions(varied(questions, settings, generator), mean, std)
