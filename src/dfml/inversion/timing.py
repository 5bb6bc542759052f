"""The `time_inversion` stage: FIVE against per-model inversion, in turn, in one process (docs/method.md §9)."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from dfml.artefacts.inversion import SpeedArm, SpeedRecord
from dfml.compute.capture import WARM_UP
from dfml.compute.device import describe_device
from dfml.compute.seeds import torch_generator
from dfml.inversion.five import load_meta_generator
from dfml.inversion.objective import make_objective
from dfml.inversion.per_model import FromScratch
from dfml.inversion.quality import teacher_scores
from dfml.inversion.recovered import Recovered
from dfml.inversion.settings import InversionSettings
from dfml.jobs.job import Job
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool


def time_inversion(
    zoos: Sequence[Path], inversion: Path, output: Path, *, pool: str, settings: InversionSettings, seed: int, job: Job
) -> None:
    """Time every arm on the same models with the same generator size, batch and teacher; write ``speed.json``.

    The arms take turns model by model, so a drifting machine slows all of them alike. FIVE runs once before and is
    not counted: it warms the process up for all arms. On a GPU every arm runs until it has been recorded, on a model of
    each form.
    """
    pooled = Pool.load(zoos, label_space="global", device=job.device)
    models = pooled.invertible
    five = load_meta_generator(inversion, settings, pooled.canvas, job.device, goes_on=False)
    objective = make_objective(settings, ce_weight=settings.five.ce_weight, bn_weight=settings.five.bn_weight)
    arms: dict[tuple[str, int], Callable[[int, torch.Generator], Recovered]] = {
        ("five", settings.five.steps): lambda index, generator: five.adapt(
            models[index], objective, images_per_class=settings.images_per_class, generator=generator
        )[0]
    }
    # Else fewer or more steps would not be what makes the difference.
    alike = partial(FromScratch, settings, objective, side=pooled.canvas, device=job.device, like=settings.five)
    for steps in sorted({settings.five.steps, *settings.speed.steps}):
        scratch = alike(steps=steps)
        arms["per_model", steps] = partial(_recover, scratch, models)
    results = {key: _empty() for key in arms}
    count = min(settings.speed.models, len(models))
    on_gpu = job.device.type == "cuda"
    of_each_form = {models[index].form: index for index in reversed(range(count))}.values() if on_gpu else [0]
    for arm in list(arms.values()) if on_gpu else list(arms.values())[:1]:
        for index in of_each_form:
            for _ in range(WARM_UP + 1 if on_gpu else 1):
                arm(index, torch_generator(seed, "speed", "warm-up"))
    with job.progress.task("timing inversion", total=count * len(arms)) as bar:
        for index in range(count):
            for key, arm in arms.items():
                generator = torch_generator(seed, "speed", index)
                _synchronise(job.device)
                start = time.perf_counter()
                recovered = arm(index, generator)
                _synchronise(job.device)
                seconds = time.perf_counter() - start
                loss, accuracy = teacher_scores(recovered)
                results[key]["seconds_per_task"].append(seconds)
                results[key]["teacher_ce"].append(loss)
                results[key]["teacher_accuracy"].append(accuracy)
                bar.advance(seconds=seconds)
    SpeedRecord(
        pool=pool,
        seed=seed,
        device=describe_device(job.device),
        images_per_task=round(sum(len(m.class_ids) for m in models[:count]) / count * settings.images_per_class),
        arms=[SpeedArm(name=name, steps=steps, **measured) for (name, steps), measured in results.items()],
        provenance=job.provenance(),
    ).save(output)


def _recover(scratch: FromScratch, models: Sequence[PoolModel], index: int, generator: torch.Generator) -> Recovered:
    return scratch(models[index], generator)


def _empty() -> dict[str, list[float]]:
    return {"seconds_per_task": [], "teacher_ce": [], "teacher_accuracy": []}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
