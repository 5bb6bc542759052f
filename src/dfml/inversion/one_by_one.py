"""Recovering the models of a pool one by one, each from nothing: the inverters that learn nothing in between."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.compute.timeline import WallClock
from dfml.compute.workers import side_by_side
from dfml.inversion.bank import ImageBank
from dfml.inversion.cmi import ContrastiveInversion
from dfml.inversion.deep_inversion import DeepInversion
from dfml.inversion.objective import make_objective
from dfml.inversion.per_model import FromScratch
from dfml.inversion.recovered import Recovered, Recovery
from dfml.inversion.settings import InversionSettings
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.jobs.loop import Loop
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool

CHUNK = 4


@dataclass(frozen=True)
class OneByOne:
    """An inverter and what one model costs it.

    ``recover`` takes a model and a CPU generator and returns one or several batches; several threads may call it at
    once. Passes are batches through the generator and through the model; ``models`` limits how many are inverted.
    """

    recover: Callable[[PoolModel, torch.Generator], list[Recovered]]
    batches: int
    generator_passes: int
    teacher_passes: int
    models: int | None


def one_by_one(inverter: str, settings: InversionSettings, *, side: int, device: torch.device) -> OneByOne:
    """The inverter of this name, for images of ``side`` pixels."""
    if inverter == "cmi":
        own = settings.cmi
        passes = own.batches * own.steps
        return OneByOne(ContrastiveInversion(settings, side=side), own.batches, passes, 2 * passes, own.models)
    if inverter == "deep_inversion":
        pixels, steps = DeepInversion(settings, side=side), settings.deep_inversion.steps
        return OneByOne(
            lambda model, generator: [pixels(model, generator)], 1, 0, steps, settings.deep_inversion.models
        )
    if inverter not in ("gen_ce", "gen_bn"):
        raise ValueError(f"unknown inverter {inverter!r}")
    per_model = settings.per_model
    weight = per_model.bn_weight if inverter == "gen_bn" else 0.0
    objective = make_objective(settings, ce_weight=per_model.ce_weight, bn_weight=weight)
    scratch = FromScratch(settings, objective, side=side, device=device)
    return OneByOne(
        lambda model, generator: [scratch(model, generator)], 1, per_model.steps, per_model.steps, per_model.models
    )


def recover_one_by_one(
    arm: OneByOne,
    pool: Pool,
    bank: ImageBank,
    *,
    seed: int,
    checkpoint: Checkpoint,
    job: Job,
) -> Recovery:
    """Invert each model and fill the bank; the history is each model's last cross-entropy, the mean of its batches.

    What a model gives depends on the seed and its index alone, not on the models before it.
    """
    clock = WallClock()
    count = min(arm.models or len(pool.invertible), len(pool.invertible))

    def steps(done: int) -> Iterator[dict[str, torch.Tensor]]:
        for items in _each(arm, _chosen(pool, count, seed)[done:], seed, job.device):
            for item in items:
                bank.add(item)
            yield {"teacher_ce": torch.stack([item.curve[-1] for item in items]).mean()}

    rows = Loop(
        name="per-model inversion",
        total=count,
        steps=steps,
        moves=bank,
        clock=clock,
        checkpoint=checkpoint,
        job=job,
    ).run()
    clock.settle()
    return Recovery([row["teacher_ce"] for row in rows], clock.total)


def _chosen(pool: Pool, count: int, seed: int) -> list[PoolModel]:
    """``count`` models in the pool's order, spread evenly over its data sets and architectures."""
    walk = pool.walk(numpy_rng(seed, "per_model", "walk"))
    return [pool[int(index)] for index in sorted(walk[:count])]


def _each(arm: OneByOne, models: list[PoolModel], seed: int, device: torch.device) -> Iterator[list[Recovered]]:
    """What every model gives, in order; on a CPU several models at once."""

    def recover(model: PoolModel) -> list[Recovered]:
        return arm.recover(model, torch_generator(seed, "per_model", model.index))

    if device.type != "cpu":
        # A GPU takes its work from one thread: recording a loop there would trip over another's.
        yield from map(recover, models)
        return
    # What is done waits for what came before: not for all models at once, or it would be in memory twice.
    chunk = CHUNK * torch.get_num_threads()
    for first in range(0, len(models), chunk):
        yield from side_by_side(recover, models[first : first + chunk])
