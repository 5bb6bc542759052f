"""The `invert` stage: recover images from every model of a pool and measure them."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfml.artefacts.imported_zoo import load_any_zoo
from dfml.artefacts.inversion import BANK, RECORD, InversionRecord
from dfml.artefacts.zoo import MANIFEST, ZooManifest
from dfml.compute.seeds import torch_generator
from dfml.files.reading import digest_json, sha256_file
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator, Restart, recover_with_five
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import Objective, make_objective
from dfml.inversion.one_by_one import one_by_one, recover_one_by_one
from dfml.inversion.quality import cross_model_accuracy, judge_scores, rows_of_classes, save_grid, teacher_scores
from dfml.inversion.recovered import Recovered
from dfml.inversion.settings import FastSettings, FiveSettings, InversionSettings
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.networks.classifier import Classifier
from dfml.zoo.imported.checks import stored_norms
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool
from dfml.zoo.store import load_judges

log = logging.getLogger(__name__)

GRID = "grid.png"
# Inverters that need no more of a model than its answers and their gradients.
ASK_GRADIENTS_ONLY = frozenset({"gen_ce"})
GRID_IMAGES = 8
PROBES_WITHOUT_JUDGES = 4


def invert(
    zoos: Sequence[Path],
    folder: Path,
    *,
    pool: str,
    inverter: str,
    name: str,
    settings: InversionSettings,
    label_space: str,
    seed: int,
    code: str,
    resume: Path,
    job: Job,
) -> None:
    """Recover a bank of images from the zoos of a pool; write generator, bank, record and picture into ``folder``.

    ``name`` is what the record calls the inverter, which may be a variant of it; ``code`` is the digest of the code at
    work: a run that other code began is not continued.
    """
    models = Pool.load(
        zoos,
        label_space=label_space,
        device=job.device,
        access="gradients" if inverter in ASK_GRADIENTS_ONLY else "weights",
    )
    _say_whose_statistics_are_missing(models, access_to_weights=inverter not in ASK_GRADIENTS_ONLY)
    bank = ImageBank.empty(models, settings, job.device)
    learns = inverter in ("five", "fast")
    own = settings.fast if inverter == "fast" else settings.five
    network = draw_generator(settings, models.canvas, torch_generator(seed, "generator"), law="default")
    five = MetaGenerator(network.to(job.device), own)
    probed, judges = _judged(zoos, models, job)
    made_of = [code, inverter, settings.model_dump(mode="json"), label_space, seed, pool]
    arguments: dict[str, Any] = {
        "seed": seed,
        "checkpoint": Checkpoint(resume, digest_json(made_of + [sha256_file(zoo / MANIFEST) for zoo in zoos])),
        "job": job,
    }
    curves = {}
    if learns:
        objective = _objective_of(settings, own)
        probe = partial(five.adapt, objective=objective, images_per_class=settings.images_per_class)
        curves["first"] = _mean_curve(
            _probed(lambda model, generator: probe(model, generator=generator)[0], probed, seed)
        )
        recovery = recover_with_five(five, models, bank, objective, restart=_restart(settings, own, seed), **arguments)
        inversions = len(recovery.history) * own.models_per_iteration
        passes = {"generator_passes": inversions * own.steps, "teacher_passes": inversions * own.steps}
        last = _probed(lambda model, generator: probe(model, generator=generator)[0], probed, seed)
    else:
        arm = one_by_one(inverter, settings, side=models.canvas, device=job.device)
        recovery = recover_one_by_one(arm, models, bank, **arguments)
        inverted = len(recovery.history)
        inversions = inverted * arm.batches
        passes = {"generator_passes": inverted * arm.generator_passes, "teacher_passes": inverted * arm.teacher_passes}
        last = _probed(lambda model, generator: arm.recover(model, generator)[-1], probed, seed)
    curves["last"] = _mean_curve(last)
    scores = [teacher_scores(item) for item in last]
    judged, diversity = judge_scores(last, judges) if judges else (None, None)

    five.save(folder)
    bank.save(folder / BANK)
    columns = min(GRID_IMAGES, settings.images_per_class)
    save_grid(rows_of_classes(last, columns), folder / GRID, columns=columns)
    InversionRecord(
        pool=pool,
        inverter=name,
        seed=seed,
        seconds=recovery.seconds,
        **passes,
        inversions=inversions,
        images=bank.images,
        iterations=len(recovery.history),
        history=recovery.history,
        ce_curve=curves,
        teacher_ce=sum(s[0] for s in scores) / len(scores),
        teacher_accuracy=sum(s[1] for s in scores) / len(scores),
        cross_model_accuracy=cross_model_accuracy(models, bank, torch_generator(seed, "cross")),
        independent_accuracy=judged,
        independent_reason=None if judges else "the zoo has no judges (`zoo.judges`)",
        diversity=diversity,
        peak_memory_mb=job.peak_memory_mb,
        provenance=job.provenance(),
    ).save(folder / RECORD)
    job.when_recorded(arguments["checkpoint"].remove)


def _say_whose_statistics_are_missing(models: Pool, *, access_to_weights: bool) -> None:
    if not access_to_weights:
        return
    # Models of one form are alike in this; a look at each would read every network of a large zoo.
    one_of_each = {model.form: model for model in models.invertible}
    without = [model.architecture for model in one_of_each.values() if not stored_norms(model.module)]
    if without:
        log.warning("no stored batch-norm statistics in %s: that term is nothing for them", ", ".join(without))


def _judged(zoos: Sequence[Path], pool: Pool, job: Job) -> tuple[Sequence[PoolModel], list[Classifier]]:
    """Models that images are measured on, with their judges; without judges the first models of the pool."""
    models: list[PoolModel] = []
    judges: list[Classifier] = []
    offset = 0
    for folder in zoos:
        manifest = load_any_zoo(folder / MANIFEST)
        if isinstance(manifest, ZooManifest):
            models += [pool[offset + entry.index] for entry in manifest.judges]
            judges += load_judges(folder, job.device)[1]
        offset += len(manifest.models)
    return (models, judges) if judges else (pool.invertible[:PROBES_WITHOUT_JUDGES], [])


def _objective_of(settings: InversionSettings, own: FiveSettings) -> Objective:
    momentum = own.statistics_momentum if isinstance(own, FastSettings) else 0.0
    return make_objective(settings, ce_weight=own.ce_weight, bn_weight=own.bn_weight, statistics_momentum=momentum)


def _restart(settings: InversionSettings, own: FiveSettings, seed: int) -> Restart | None:
    if not isinstance(own, FastSettings) or own.restart_at is None:
        return None
    return Restart(own.restart_at, settings, torch_generator(seed, "restart"))


def _probed(
    recover: Callable[[PoolModel, torch.Generator], Recovered], models: Sequence[PoolModel], seed: int
) -> list[Recovered]:
    return [recover(model, torch_generator(seed, "probe", i)) for i, model in enumerate(models)]


def _mean_curve(recovered: Sequence[Recovered]) -> list[float]:
    return torch.stack([item.curve for item in recovered]).mean(0).tolist()
