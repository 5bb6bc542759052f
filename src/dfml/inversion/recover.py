"""The `invert` stage: recover images from every model of a pool and measure them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dfml.artefacts.base import INVERSION_FORMAT, INVERSION_VERSION
from dfml.artefacts.zoo import MANIFEST
from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.config.methods.names import needed_access
from dfml.files.atomic import atomic_write, write_json
from dfml.files.reading import digest_json, sha256_file
from dfml.files.tensors import layout_of, read_tensors
from dfml.inversion.bank import ImageBank
from dfml.inversion.grid import rows_of_classes, save_grid
from dfml.inversion.meta_generator import MetaGenerator, Recovered
from dfml.inversion.objective import Objective, make_objective
from dfml.inversion.one_by_one import Recovery, one_by_one, recover_one_by_one
from dfml.inversion.per_model import draw_generator
from dfml.inversion.quality import cross_model_accuracy, judge_scores, teacher_scores
from dfml.inversion.settings import FastSettings, FiveSettings, InversionSettings
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.networks.generator import Generator
from dfml.zoo.pool import Pool, PoolModel
from dfml.zoo.store import load_judges

GENERATOR, BANK, RECORD, GRID = "generator.safetensors", "bank.npz", "inversion.json", "grid.png"
GRID_IMAGES = 8
PROBES_WITHOUT_JUDGES = 4


@dataclass(frozen=True)
class Restart:
    """Fast-Datafree draws the generator's first linear layer and batch norm anew, once, ``iteration`` after warm-up."""

    iteration: int
    settings: InversionSettings
    draws: torch.Generator

    def __call__(self, generator: Generator) -> None:
        """Do it, in place; the outer optimiser keeps its moments."""
        fresh = draw_generator(self.settings, generator.side, self.draws, law="default")
        generator.project.load_state_dict(fresh.project.state_dict())
        generator.norm0.load_state_dict(fresh.norm0.state_dict())


class ModelSampler:
    """Draws the models of each iteration; ``without`` replacement it walks through shuffled pools (F25)."""

    def __init__(
        self, pool: Pool, settings: FiveSettings, seed: int, *, hetero: str = "per_model", stream: str = "five"
    ) -> None:
        self.pool, self.settings, self.seed = pool, settings, seed
        self.hetero, self.stream = hetero, stream

    def draw(self, iteration: int) -> list[PoolModel]:
        """The models of an iteration; depends on the seed and the iteration alone."""
        count = self.settings.models_per_iteration
        if self.settings.sample == "with_replacement" or self.hetero == "shared_last":
            return self.pool.sample(count, numpy_rng(self.seed, self.stream, "models", iteration), hetero=self.hetero)
        first = iteration * count
        return [self.pool[self._walk(position)] for position in range(first, first + count)]

    def _walk(self, position: int) -> int:
        turn, place = divmod(position, len(self.pool))
        return int(self.pool.walk(numpy_rng(self.seed, self.stream, "walk", turn))[place])


def recover_with_five(
    five: MetaGenerator,
    pool: Pool,
    bank: ImageBank,
    objective: Objective,
    *,
    restart: Restart | None = None,
    seed: int,
    checkpoint: Checkpoint,
    checkpoint_every: int,
    job: Job,
) -> Recovery:
    """Meta-train the generator and, after the warm-up, fill the bank; the history is the mean over an iteration.

    Args:
        five: the generator with its settings.
        pool, bank: where the models are and where their images go.
        objective: of the inner steps.
        restart: of the generator's first layer, if it is to be.
        seed, checkpoint, checkpoint_every, job: of the stage.

    Raises:
        DfmlError: a loss was not finite; told at the next resume point.
    """
    start = time.perf_counter()
    settings = five.settings
    draws = torch_generator(seed, "five")
    sampler = ModelSampler(pool, settings, seed)
    history: list[float] = []
    state = checkpoint.load()
    if state is not None:
        five.load_state(state["five"])
        bank.load_state(state["bank"])
        draws.set_state(state["draws"])
        history = state["history"]
        start -= state["seconds"]
    fresh: list[torch.Tensor] = []
    total = settings.warmup + settings.iterations
    with job.progress.task("FIVE", total=total, done=len(history)) as bar:
        for iteration in range(len(history), total):
            if restart is not None and iteration == settings.warmup + restart.iteration:
                restart(five.generator)
            recovered = five.step(
                sampler.draw(iteration), objective, images_per_class=bank.images_per_class, draws=draws
            )
            if iteration >= settings.warmup:
                for item in recovered:
                    bank.add(item)
            fresh.append(torch.stack([item.curve[-1] for item in recovered]).mean())
            bar.advance(teacher_ce=fresh[-1])
            if (iteration + 1) % checkpoint_every == 0 or iteration + 1 == total:
                five.check()
                history += torch.stack(fresh).tolist()
                fresh = []
                state = {"five": five.state(), "bank": bank.state(), "draws": draws.get_state()}
                checkpoint.save({**state, "history": history, "seconds": time.perf_counter() - start})
    return Recovery(history, time.perf_counter() - start)


def invert(
    zoos: Sequence[Path],
    folder: Path,
    *,
    pool: str,
    inverter: str,
    settings: InversionSettings,
    label_space: str,
    seed: int,
    code: str,
    resume: Path,
    checkpoint_every: int,
    job: Job,
) -> None:
    """Recover a bank of images from the zoos of a pool; write generator, bank, record and picture into ``folder``.

    ``code`` is the digest of the code at work: a run that other code began is not continued.
    """
    models = Pool.load(zoos, label_space=label_space, device=job.device, access=needed_access(inverter))
    bank = ImageBank(
        len(models.class_names),
        slots=settings.slots,
        images_per_class=settings.images_per_class,
        side=models.canvas,
        device=job.device,
    )
    learns = inverter in ("five", "fast")
    own = settings.fast if inverter == "fast" else settings.five
    generator = draw_generator(settings, models.canvas, torch_generator(seed, "generator"), law="default")
    five = MetaGenerator(generator.to(job.device), own)
    probed, judges = _judged(zoos, models, job)
    made_of = [code, inverter, settings.model_dump(mode="json"), label_space, seed, pool]
    arguments: dict[str, Any] = {
        "seed": seed,
        "checkpoint": Checkpoint(resume, digest_json(made_of + [sha256_file(zoo / MANIFEST) for zoo in zoos])),
        "checkpoint_every": checkpoint_every,
        "job": job,
    }
    curves = {}
    if learns:
        objective = _objective_of(settings, own)
        probe = partial(five.adapt, objective=objective, images_per_class=settings.images_per_class)
        curves["first"] = _mean_curve(_probed(lambda model, draws: probe(model, draws=draws)[0], probed, seed))
        recovery = recover_with_five(five, models, bank, objective, restart=_restart(settings, own, seed), **arguments)
        inversions = len(recovery.history) * own.models_per_iteration
        passes = {"generator_passes": inversions * own.steps, "teacher_passes": inversions * own.steps}
        last = _probed(lambda model, draws: probe(model, draws=draws)[0], probed, seed)
    else:
        arm = one_by_one(inverter, settings, side=models.canvas, device=job.device)
        recovery = recover_one_by_one(arm, models, bank, **arguments)
        inverted = len(recovery.history)
        inversions = inverted * arm.batches
        passes = {"generator_passes": inverted * arm.generator_passes, "teacher_passes": inverted * arm.teacher_passes}
        last = _probed(lambda model, draws: arm.recover(model, draws)[-1], probed, seed)
    curves["last"] = _mean_curve(last)
    scores = [teacher_scores(item) for item in last]
    judged, diversity = judge_scores(last, judges) if judges else (None, None)

    tensors = {name: t.detach().cpu().contiguous() for name, t in five.generator.state_dict().items()}
    atomic_write(folder / GENERATOR, lambda partial: save_file(tensors, partial))
    bank.save(folder / BANK)
    columns = min(GRID_IMAGES, settings.images_per_class)
    save_grid(rows_of_classes(last, columns), folder / GRID, columns=columns)
    write_json(
        folder / RECORD,
        {
            "format": INVERSION_FORMAT,
            "version": INVERSION_VERSION,
            "pool": pool,
            "inverter": inverter,
            "seed": seed,
            "seconds": recovery.seconds,
            **passes,
            "inversions": inversions,
            "images": bank.images,
            "iterations": len(recovery.history),
            "history": recovery.history,
            "ce_curve": curves,
            "teacher_ce": sum(s[0] for s in scores) / len(scores),
            "teacher_accuracy": sum(s[1] for s in scores) / len(scores),
            "cross_model_accuracy": cross_model_accuracy(models, bank, torch_generator(seed, "cross")),
            "independent_accuracy": judged,
            "independent_reason": None if judges else "the zoo has no judges (`zoo.judges`)",
            "diversity": diversity,
            "peak_memory_mb": job.peak_memory_mb,
            "provenance": job.provenance(),
        },
    )
    arguments["checkpoint"].remove()


def load_meta_generator(folder: Path, settings: InversionSettings, side: int, device: torch.device) -> MetaGenerator:
    """The meta-generator that :func:`invert` wrote into ``folder``.

    Raises:
        FileFormatError: the file is missing, damaged, or not of the size that the settings ask for.
    """
    generator = Generator(latent=settings.latent, width=settings.width, side=side)
    layout = layout_of(generator.state_dict())
    what = f"a generator of latent {settings.latent}, width {settings.width} and side {side}"
    remedy = "run the inversion again"
    generator.load_state_dict(read_tensors(folder / GENERATOR, layout, what=what, remedy=remedy))
    return MetaGenerator(generator.to(device), settings.five)


def _judged(zoos: Sequence[Path], pool: Pool, job: Job) -> tuple[list[PoolModel], list[torch.nn.Module]]:
    """Models that images are measured on, with their judges; without judges the first models of the pool."""
    models, judges, offset = [], [], 0
    for folder in zoos:
        manifest, networks = load_judges(folder, job.device)
        models += [pool[offset + entry.index] for entry in manifest.judges]
        judges += networks
        offset += len(manifest.models)
    return (models, judges) if judges else (pool[:PROBES_WITHOUT_JUDGES], [])


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
