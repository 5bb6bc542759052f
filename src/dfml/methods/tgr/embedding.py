"""The first stage of TGR: images of every model, its embedding, and how alike the models are."""

import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.per_model import FromScratch
from dfml.jobs.checkpoint import Checkpoint
from dfml.methods.base import Context, load_body
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
    history: list[dict[str, float]]


def make_probe(context: Context, settings: TgrSettings) -> Probe:
    """The probe that the settings name; raises DfmlError where it does not fit the pool or has no weights."""
    device = context.job.device
    if settings.probe == "self":
        return self_probe(context.pool)
    if settings.probe == "random_r34":
        return random_resnet34(torch_generator(context.seed, "tgr", "probe"), device)
    if settings.probe == "imagenet_r34":
        return imagenet_resnet34(Path(settings.probe_weights).expanduser(), device)
    side = context.pool.side
    learner = context.new_learner(side)
    # Under a head of zeros the body would have no gradient: its head is the random one in any case.
    load_body(learner, dict(context.starting_learner(settings.start).named_parameters()))
    return learner_probe(learner, context.learner_spec(side), device)


def embed(context: Context, settings: TgrSettings, recover: FromScratch, bank: ImageBank) -> Embedded:
    """Recover images of every model into ``bank`` and compare the models by the probe's Fisher information on them.

    An interrupted stage goes on after the last whole model. Embeddings are kept in main memory as float32, and on disk
    in a file for each model until they have been compared: 85 MB a model for a ResNet-34, as much as the probe itself.
    """
    start = time.perf_counter()
    models = context.pool[: eligible(len(context.pool), settings.group_models)]
    checkpoint = context.sub_checkpoint("embedding")
    files = [context.sub_checkpoint(f"embedding{model.index}") for model in models]
    fishers, state = _resumed(checkpoint, files)
    history: list[dict[str, float]] = []
    before = 0.0
    if state is not None:
        bank.load_state(state["bank"])
        history, before = state["history"], state["seconds"]
    passes = len(models) * _passes(context, settings)
    if state is not None and "similarity" in state:
        return Embedded(state["similarity"], before, passes, history)
    probe = make_probe(context, settings)

    def save(**found: Any) -> None:
        seconds = before + time.perf_counter() - start
        checkpoint.save({"bank": bank.state(), "history": history, "seconds": seconds, **found})

    with context.job.progress.task("embedding", total=len(models), done=len(fishers)) as bar:
        for model, file in list(zip(models, files, strict=True))[len(fishers) :]:
            draws = torch_generator(context.seed, "tgr", "embedding", model.index)
            sets = list(recover.batches(model, settings.embedding_batches, draws))
            for item in sets:
                bank.add(item)
            fishers.append(
                fisher_diagonal(
                    probe.of(model),
                    torch.cat([probe.inputs(model, item.images) for item in sets]),
                    torch.cat([item.targets for item in sets]),
                    kind=settings.fisher,
                    stored=probe.stored,
                )
            )
            teacher_ce = float(torch.stack([item.curve[-1] for item in sets]).mean())
            seconds = before + time.perf_counter() - start
            history.append({"iteration": 0, "seconds": seconds, "teacher_ce": teacher_ce})
            bar.advance(teacher_ce=teacher_ce)
            file.save({"fisher": fishers[-1]})
            save()
    likeness = similarity(fishers, epsilon=settings.epsilon, device=context.job.device)
    seconds = before + time.perf_counter() - start
    history.append({"iteration": 0, "seconds": seconds, **_statistics(likeness)})
    save(similarity=likeness)
    for file in files:
        file.remove()
    return Embedded(likeness, seconds, passes, history)


def _passes(context: Context, settings: TgrSettings) -> int:
    """Batches through one model: the inversion's, and those of its Fisher information if it probes itself."""
    inversion, pool = context.inversion_settings, context.pool
    assert inversion is not None
    passes = settings.embedding_batches * settings.inversion_steps
    if settings.probe == "self":
        images = settings.embedding_batches * inversion.images_per_class * pool.ways
        passes += -(-images // batch_size(pool[0].network, images, settings.fisher))
    return passes


def _resumed(checkpoint: Checkpoint, files: list[Checkpoint]) -> tuple[list[Fisher], dict[str, Any] | None]:
    """The embeddings of the models that are done, and what goes with them; nothing if a file has gone."""
    state = checkpoint.load()
    if state is None or "similarity" in state:
        return [], state
    found = [file.load() for file in files[: len(state["history"])]]
    if any(one is None for one in found):
        log.warning("an embedding is missing beside %s, starting afresh", checkpoint.path)
        return [], None
    return [one["fisher"] for one in found if one is not None], state


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
