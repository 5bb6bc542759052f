"""The first stage of TGR: images of every model, its embedding, and how alike the models are."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dfml.compute.seeds import torch_generator
from dfml.compute.timeline import WallClock
from dfml.inversion.bank import ImageBank
from dfml.inversion.per_model import FromScratch
from dfml.jobs.loop import Aside, Loop
from dfml.methods.base import Context, load_body
from dfml.methods.history import Row, preparation
from dfml.methods.tgr.fisher import batch_size, fisher_diagonal
from dfml.methods.tgr.grouping import eligible, similarity
from dfml.methods.tgr.probes import Probe, imagenet_resnet34, learner_probe, random_resnet34, self_probe
from dfml.methods.tgr.settings import TgrSettings

log = logging.getLogger(__name__)

Fisher = dict[str, Tensor]


class Embedded(NamedTuple):
    """Similarity of the models ``[models, models]``, seconds taken, passes of the models, and rows of the history."""

    similarity: Tensor
    seconds: float
    teacher_passes: int
    history: list[Row]


def make_probe(context: Context, settings: TgrSettings) -> Probe:
    """The probe that the settings name; raises DfmlError where it does not fit the pool or has no weights."""
    device = context.job.device
    if settings.probe == "self":
        return self_probe(context.pool)
    if settings.probe == "random_r34":
        return random_resnet34(torch_generator(context.seed, "tgr", "probe"), device)
    if settings.probe == "imagenet_r34":
        return imagenet_resnet34(Path(settings.probe_weights).expanduser(), device)
    learner = context.new_learner(context.side)
    # Under a head of zeros the body would have no gradient: its head is the random one in any case.
    load_body(learner, dict(context.starting_learner(settings.start).named_parameters()))
    return learner_probe(learner, context.learner_spec(context.side), device)


def embed(context: Context, settings: TgrSettings, recover: FromScratch, bank: ImageBank) -> Embedded:
    """Recover images of every model into ``bank`` and compare the models by the probe's Fisher information on them.

    An interrupted stage goes on after the last whole model. Embeddings are kept in main memory as float32, and on disk
    in a file for each model until they have been compared: 85 MB a model for a ResNet-34, as much as the probe itself.
    """
    clock = WallClock()
    models = context.pool[: eligible(len(context.pool), settings.group_models)]
    files = [context.sub_checkpoint(f"embedding{model.index}") for model in models]
    fishers, found = Aside("an embedding", files), _Comparison(bank)

    def steps(done: int) -> Iterator[dict[str, Tensor]]:
        probe = make_probe(context, settings)
        for model in models[done:]:
            generator = torch_generator(context.seed, "tgr", "embedding", model.index)
            sets = list(recover.batches(model, settings.embedding_batches, generator))
            for item in sets:
                bank.add(item)
            fishers.held.append(
                fisher_diagonal(
                    probe.of(model),
                    torch.cat([probe.inputs(model, item.images) for item in sets]),
                    torch.cat([item.targets for item in sets]),
                    kind=settings.fisher,
                    stored=probe.stored,
                )
            )
            yield {"teacher_ce": torch.stack([item.curve[-1] for item in sets]).mean()}

    def compare() -> dict[str, float]:
        found.similarity = similarity(fishers.held, epsilon=settings.epsilon, device=context.job.device)
        return _statistics(found.similarity)

    rows = Loop(
        name="embedding",
        total=len(models),
        steps=steps,
        moves=found,
        clock=clock,
        checkpoint=context.sub_checkpoint("embedding"),
        job=context.job,
        every=1,
        aside=fishers,
        finish=compare,
        shown=context.history.prepare,
    ).run()
    context.history.prepared(rows)
    return Embedded(found.similarity, rows[-1]["seconds"], len(models) * _passes(context, settings), preparation(rows))


class _Comparison:
    """The images of the models embedded so far and, once all are, how alike the models are."""

    MOVES = ("bank",)
    GROWS = ("similarity",)

    def __init__(self, bank: ImageBank) -> None:
        self.bank, self.similarity = bank, torch.empty(0, 0, dtype=torch.float64)


def _passes(context: Context, settings: TgrSettings) -> int:
    """Batches through one model: the inversion's, and those of its Fisher information if it probes itself."""
    inversion, pool = context.inversion_settings, context.pool
    assert inversion is not None
    passes = settings.embedding_batches * settings.inversion_steps
    if settings.probe == "self":
        images = settings.embedding_batches * inversion.images_per_class * pool.ways
        passes += -(-images // batch_size(pool[0].network, images, settings.fisher))
    return passes


def _statistics(likeness: Tensor) -> dict[str, float]:
    """Spread of the similarities of different models: without any, groups mean nothing (T4)."""
    count = len(likeness)
    if count < 2:
        return {}
    different = likeness[~torch.eye(count, dtype=torch.bool)]
    facts = {
        "similarity_min": float(different.min()),
        "similarity_mean": float(different.mean()),
        "similarity_max": float(different.max()),
    }
    log.info("similarity of %d models: %s", count, ", ".join(f"{k[11:]} {v:.4f}" for k, v in facts.items()))
    return facts
