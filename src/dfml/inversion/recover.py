"""The `invert` stage: recover images from every model of a pool and measure them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfml.config.inversion import FiveSettings, InversionSettings
from dfml.errors import FileFormatError
from dfml.formats import INVERSION_FORMAT, INVERSION_VERSION
from dfml.inversion.bank import ImageBank
from dfml.inversion.grid import save_grid
from dfml.inversion.meta_generator import MetaGenerator, Recovered
from dfml.inversion.objective import Objective
from dfml.inversion.per_model import FromScratch, draw_generator
from dfml.inversion.quality import cross_model_accuracy, judge_scores, teacher_scores
from dfml.inversion.views import Views
from dfml.networks.generator import Generator
from dfml.runtime.checkpoint import Checkpoint
from dfml.runtime.digests import digest_json
from dfml.runtime.files import atomic_write, sha256_file, write_json
from dfml.runtime.job import Job
from dfml.runtime.seeds import numpy_rng, torch_generator
from dfml.zoo.manifest import MANIFEST
from dfml.zoo.pool import Pool, PoolModel
from dfml.zoo.store import load_judges

GENERATOR, BANK, RECORD, GRID = "generator.safetensors", "bank.npz", "inversion.json", "grid.png"
GRID_IMAGES = 8
PROBES_WITHOUT_JUDGES = 4


def make_objective(settings: InversionSettings, *, ce_weight: float, bn_weight: float) -> Objective:
    """The inversion objective without an adversary, as the bank is recovered with."""
    return Objective(
        ce_weight=ce_weight,
        bn_weight=bn_weight,
        views=Views(settings.crop_padding, settings.augment == "per_sample", settings.resize),
    )


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


@dataclass(frozen=True)
class Recovery:
    """What filled a bank: a cross-entropy per iteration or model, and its seconds over all interruptions."""

    history: list[float]
    seconds: float


def recover_with_five(
    five: MetaGenerator,
    pool: Pool,
    bank: ImageBank,
    settings: InversionSettings,
    *,
    seed: int,
    checkpoint: Checkpoint,
    checkpoint_every: int,
    job: Job,
) -> Recovery:
    """Meta-train the generator and, after the warm-up, fill the bank; the history is the mean over an iteration.

    Raises:
        DfmlError: a loss was not finite; told at the next resume point.
    """
    start = time.perf_counter()
    objective = make_objective(settings, ce_weight=settings.five.ce_weight, bn_weight=settings.five.bn_weight)
    draws = torch_generator(seed, "five")
    sampler = ModelSampler(pool, settings.five, seed)
    history: list[float] = []
    state = checkpoint.load()
    if state is not None:
        five.load_state(state["five"])
        bank.load_state(state["bank"])
        draws.set_state(state["draws"])
        history = state["history"]
        start -= state["seconds"]
    fresh: list[torch.Tensor] = []
    total = settings.five.warmup + settings.five.iterations
    with job.progress.task("FIVE", total=total, done=len(history)) as bar:
        for iteration in range(len(history), total):
            recovered = five.step(
                sampler.draw(iteration), objective, images_per_class=settings.images_per_class, draws=draws
            )
            if iteration >= settings.five.warmup:
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


def recover_per_model(
    pool: Pool,
    bank: ImageBank,
    settings: InversionSettings,
    *,
    bn_weight: float,
    seed: int,
    checkpoint: Checkpoint,
    checkpoint_every: int,
    job: Job,
) -> Recovery:
    """Invert each model from scratch and fill the bank; the history is each model's last cross-entropy."""
    start = time.perf_counter()
    objective = make_objective(settings, ce_weight=settings.per_model.ce_weight, bn_weight=bn_weight)
    recover = FromScratch(settings, objective, side=pool.canvas, device=job.device)
    count = min(settings.per_model.models or len(pool), len(pool))
    history: list[float] = []
    state = checkpoint.load()
    if state is not None:
        bank.load_state(state["bank"])
        history = state["history"]
        start -= state["seconds"]
    with job.progress.task("per-model inversion", total=count, done=len(history)) as bar:
        for index in range(len(history), count):
            draws = torch_generator(seed, "per_model", index)
            item = recover(pool[index], draws)
            bank.add(item)
            history.append(item.curve[-1].item())
            bar.advance(teacher_ce=history[-1])
            if (index + 1) % checkpoint_every == 0:
                seconds = time.perf_counter() - start
                checkpoint.save({"bank": bank.state(), "history": history, "seconds": seconds})
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
    resume: Path,
    checkpoint_every: int,
    job: Job,
) -> None:
    """Recover a bank of images from the zoos of a pool; write generator, bank, record and picture into ``folder``."""
    models = Pool.load(zoos, label_space=label_space, device=job.device)
    bank = ImageBank(
        len(models.class_names),
        slots=settings.slots,
        images_per_class=settings.images_per_class,
        side=models.canvas,
        device=job.device,
    )
    generator = draw_generator(settings, models.canvas, torch_generator(seed, "generator"), law="default")
    five = MetaGenerator(generator.to(job.device), settings.five)
    probes, judges = _judged(zoos, models, job)
    probe = _prober(settings, seed)
    made_of = [inverter, settings.model_dump(mode="json"), label_space, seed, pool]
    checkpoint = Checkpoint(resume, digest_json(made_of + [sha256_file(zoo / MANIFEST) for zoo in zoos]))
    first = [probe(five, model, i).curve for i, model in enumerate(probes)]
    arguments: dict[str, Any] = {
        "seed": seed,
        "checkpoint": checkpoint,
        "checkpoint_every": checkpoint_every,
        "job": job,
    }
    if inverter == "five":
        recovery = recover_with_five(five, models, bank, settings, **arguments)
        inversions, steps = len(recovery.history) * settings.five.models_per_iteration, settings.five.steps
        last = [probe(five, model, i) for i, model in enumerate(probes)]
    else:
        weight = settings.per_model.bn_weight if inverter == "gen_bn" else 0.0
        recovery = recover_per_model(models, bank, settings, bn_weight=weight, **arguments)
        inversions, steps = len(recovery.history), settings.per_model.steps
        objective = make_objective(settings, ce_weight=settings.per_model.ce_weight, bn_weight=weight)
        recover = FromScratch(settings, objective, side=models.canvas, device=job.device)
        last = [recover(model, torch_generator(seed, "probe", i)) for i, model in enumerate(probes)]
    scores = [teacher_scores(item) for item in last]
    judged, diversity = judge_scores(last, judges) if judges else (None, None)

    tensors = {name: t.detach().cpu().contiguous() for name, t in five.generator.state_dict().items()}
    atomic_write(folder / GENERATOR, lambda partial: save_file(tensors, partial))
    bank.save(folder / BANK)
    save_grid(_grid_order(last), folder / GRID, columns=min(GRID_IMAGES, settings.images_per_class))
    write_json(
        folder / RECORD,
        {
            "format": INVERSION_FORMAT,
            "version": INVERSION_VERSION,
            "pool": pool,
            "inverter": inverter,
            "seed": seed,
            "seconds": recovery.seconds,
            "generator_passes": inversions * steps,
            "teacher_passes": inversions * steps,
            "inversions": inversions,
            "images": bank.images,
            "iterations": len(recovery.history),
            "history": recovery.history,
            "ce_curve": {"first": _mean_curve(first), "last": _mean_curve([item.curve for item in last])},
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
    checkpoint.remove()


def load_meta_generator(folder: Path, settings: InversionSettings, side: int, device: torch.device) -> MetaGenerator:
    """The meta-generator that :func:`invert` wrote into ``folder``.

    Raises:
        FileFormatError: the file is missing, damaged, or not of the size that the settings ask for.
    """
    generator = Generator(latent=settings.latent, width=settings.width, side=side)
    try:
        generator.load_state_dict(load_file(folder / GENERATOR))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{folder / GENERATOR}: not this generator ({reason}); run the inversion again") from None
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


def _prober(settings: InversionSettings, seed: int) -> Callable[[MetaGenerator, PoolModel, int], Recovered]:
    objective = make_objective(settings, ce_weight=settings.five.ce_weight, bn_weight=settings.five.bn_weight)

    def probe(five: MetaGenerator, model: PoolModel, index: int) -> Recovered:
        draws = torch_generator(seed, "probe", index)
        return five.adapt(model, objective, images_per_class=settings.images_per_class, draws=draws)[0]

    return probe


def _mean_curve(curves: Sequence[torch.Tensor]) -> list[float]:
    return torch.stack(list(curves)).mean(0).tolist()


def _grid_order(recovered: Sequence[Recovered]) -> torch.Tensor:
    """One row per class: the first images of each class of each probed model."""
    rows = []
    for item in recovered:
        ways = len(item.model.class_ids)
        per_class = item.images.view(-1, ways, *item.images.shape[1:]).transpose(0, 1)
        rows.append(per_class[:, :GRID_IMAGES].flatten(0, 1))
    return torch.cat(rows)
