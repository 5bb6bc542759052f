"""Cells small enough to be fitted in a test: their inputs on disk, their settings and their context."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfml.artefacts.base import Cell
from dfml.artefacts.inversion import BANK, RECORD
from dfml.catalogue import entry
from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.settings import InversionSettings
from dfml.jobs.progress import Progress
from dfml.jobs.settings import RuntimeSettings
from dfml.methods import stage
from dfml.methods.base import Context
from dfml.methods.free.settings import FreeHeadsSettings, FreeOfficialSettings, FreeSettings
from dfml.methods.settings import MethodSettings
from dfml.methods.stage import load_settings
from dfml.methods.supervised.settings import SupervisedSettings
from dfml.networks.settings import LearnerSettings
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool
from support import manifests
from support.inversion import recovered
from support.zoo import CPU, SIDE, WAYS, WIDTH, QuietJob

LEARNER = LearnerSettings(family="conv4", width=WIDTH)
INVERSION = InversionSettings(latent=8, width=2, images_per_class=6, crop_padding=1, slots=3)
FIVE = {"warmup": 1, "models_per_iteration": 2, "steps": 2}
REPLAY = {"max_outer": 2, "episodes": 2, "queries": 3, "inner_steps": 2}


class InterruptedJobError(Exception):
    """What ends a job whose progress is `InterruptedProgress`."""


@dataclass
class InterruptedProgress:
    """Lets a loop count ``steps`` iterations and ends it in the next one, before that can be saved."""

    steps: int

    @contextmanager
    def task(self, description: str, *, total: int, done: int = 0) -> Iterator["InterruptedProgress"]:
        """Open a loop."""
        yield self

    def advance(self, steps: int = 1, /, **quantities: Any) -> None:
        """Count an iteration."""
        self.steps -= 1
        if self.steps < 0:
            raise InterruptedJobError


def free_options(**changes: Any) -> dict[str, Any]:
    """Plain settings of a tiny ``free``; ``changes`` replace whole sections."""
    section = {"iterations": 3, "generator": "fresh", "five": FIVE, "snapshots": 2}
    section["replay"] = REPLAY | {"mode": "fixed"}
    return FreeSettings(**(section | changes)).resolved(INVERSION).model_dump(mode="json")


def official_options(**changes: Any) -> dict[str, Any]:
    """Plain settings of a tiny ``free_official``, official wherever that costs no time."""
    section = {"iterations": 3, "five": FIVE, "replay": REPLAY | {"patience": 1}, "snapshots": 2}
    return FreeOfficialSettings(**(section | changes)).resolved(INVERSION).model_dump(mode="json")


HEADS = {"steps": 6, "questions": 30, "batch_size": 8, "crop_padding": 1}


def heads_options(**changes: Any) -> dict[str, Any]:
    """Plain settings of a tiny ``free_heads`` that continues with FREE on the bank of `write_inversion`."""
    section = free_options(generator="inversion", iterations=2) | {"start": "mixed_heads"}
    return FreeHeadsSettings(**(section | changes)).resolved(INVERSION).model_dump(mode="json")


def supervised_options(**changes: Any) -> dict[str, Any]:
    """Plain settings of a tiny ``supervised_maml``."""
    section = {"iterations": 4, "episodes": 2, "queries": 3, "inner_steps": 2, "snapshots": 2}
    return SupervisedSettings(**(section | changes)).model_dump(mode="json")


def settings_of(method: str, options: dict[str, Any]) -> MethodSettings | None:
    """The method's section from plain values, as the stage makes it."""
    return load_settings(entry(method).settings, options)


def context(
    method: str,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
    options: dict[str, Any] | None = None,
    shots: int = 1,
    seed: int = 0,
    every: int = 1,
    **changes: Any,
) -> Context:
    """The inputs of a cell with a resume point every so many iterations; ``pool`` stands for zoos not to be read."""
    options = options or {}
    job = QuietJob(runtime=RuntimeSettings(checkpoint_every=every))
    if progress:
        job.progress = progress
    fields = {
        "cell": Cell("single", method, shots, seed),
        "ways": WAYS,
        "label_space": "global",
        "learner": LEARNER,
        "access": entry(method).needed_access(options),
        "settings": settings_of(method, options),
        "adapts": entry(method).learner,
        "zoos": [],
        "inversion": None,
        "base": None,
        "images": [],
        "inversion_settings": INVERSION,
        "job": job,
    }
    made = Context(**(fields | changes))
    if pool is not None:
        vars(made)["pool"] = pool  # where the cached property would keep it
    return made


def fit_cell(
    folder: Path, method: str, options: dict[str, Any], *, fit: Path | None = None, code: str = "code", **changes: Any
) -> Path:
    """Run the `meta_learn` stage of a cell into ``folder``; its resume file lies beside it. Returns ``folder``."""
    given = context(method, options=options, **({"resume": folder.with_suffix(".resume")} | changes))
    stage.fit_cell(given, folder, fit=fit or entry(method).fit, code=code)
    return folder


def write_inversion(
    folder: Path,
    pool: Pool,
    *,
    settings: InversionSettings = INVERSION,
    side: int = SIDE,
    images: Callable[[PoolModel], Tensor] | None = None,
) -> Path:
    """Write what FREE reads of the `invert` stage: an untrained generator and a bank of every model's images, or noise.

    ``images`` gives those of a model, float in [0, 1] ``[images_per_class * ways, 3, side, side]``, a class after the
    other in turn.
    """
    generator = draw_generator(settings, side, torch_generator(0, "generator"), law="default")
    folder.mkdir(parents=True)
    MetaGenerator(generator, settings.five).save(folder)
    per_class = settings.images_per_class
    bank = ImageBank(len(pool.class_names), slots=settings.slots, images_per_class=per_class, side=side, device=CPU)
    draws = torch_generator(0, "bank")
    for model in pool:
        noise = torch.rand(per_class * len(model.class_ids), 3, side, side, generator=draws)
        bank.add(recovered(model, noise if images is None else images(model)))
    bank.save(folder / BANK)
    manifests.write(folder, RECORD, manifests.inversion(seconds=1.5, teacher_passes=7))
    return folder
