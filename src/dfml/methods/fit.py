"""The `meta_learn` stage: run one method on one cell and put the learner on the shelf."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfml.artefacts.base import INVERSION_FORMAT, INVERSION_VERSION
from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.reading import digest_json, read_json, sha256_file
from dfml.inversion.settings import InversionSettings
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.metalearning.learner_store import HISTORY, save_learner
from dfml.methods.base import Context, Fitted
from dfml.methods.catalogue import METHODS
from dfml.methods.custom import load_fit
from dfml.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from dfml.config.root import Cell  # configuration as a whole is no part of what this stage computes


def fit_method(
    folder: Path,
    *,
    cell: Cell,
    zoos: Sequence[Path],
    inversion: Path | None,
    images: Sequence[Path] | None,
    ways: int,
    label_space: str,
    learner: NetworkSettings,
    options: Mapping[str, Any],
    inversion_settings: InversionSettings | None,
    code: str,
    resume: Path,
    checkpoint_every: int,
    job: Job,
    file: Path | None = None,
) -> None:
    """Fit ``cell.method`` and write ``learner.safetensors``, ``learner.json`` and ``history.csv`` into ``folder``.

    ``options`` is the method's own configuration section; ``images`` are given to methods outside the data-free wall
    only; ``file`` holds a method that the catalogue does not list; ``code`` is the digest of the code at work: a run
    that other code began is not continued. Raises what the method and the readers of its inputs raise.
    """
    inputs = [path / "zoo.json" for path in zoos] + ([inversion / "bank.npz"] if inversion else [])
    inputs += [path / "images.json" for path in images or []] + ([file] if file else [])
    inversion_plain = None if inversion_settings is None else inversion_settings.model_dump(mode="json")
    digest = digest_json(
        [code, vars(cell), ways, label_space, learner.model_dump(), dict(options), inversion_plain]
        + [sha256_file(path) for path in inputs]
    )
    context = Context(
        method=cell.method,
        shots=cell.shots,
        seed=cell.seed,
        ways=ways,
        label_space=label_space,
        learner=learner,
        options=options,
        zoos=zoos,
        inversion=inversion,
        images=images or [],
        inversion_settings=inversion_settings,
        checkpoint=Checkpoint(resume, digest),
        checkpoint_every=checkpoint_every,
        job=job,
    )
    # Imported by name, so that an edit of one method concerns its own cells alone.
    fit = load_fit(cell.method, file) if file else importlib.import_module(METHODS[cell.method].module).fit
    fitted: Fitted = fit(context)
    atomic_write(folder / HISTORY, _history(fitted).encode())
    save_learner(
        folder,
        [snapshot.states for snapshot in fitted.snapshots],
        {
            "pool": cell.pool,
            "method": cell.method,
            "ways": ways,
            "shots": cell.shots,
            "seed": cell.seed,
            "encoders": fitted.specs,
            "snapshots": [{"iteration": s.iteration, "seconds": s.seconds} for s in fitted.snapshots],
            "finetune": fitted.finetune,
            "head_only": fitted.head_only,
            "mean": fitted.mean.tolist(),
            "std": fitted.std.tolist(),
            "domains": {name: {"mean": m.tolist(), "std": s.tolist()} for name, (m, s) in fitted.domains.items()},
            "train_seconds": sum(fitted.stages.values()),
            "teacher_passes": fitted.teacher_passes,
            **_bank_cost(inversion),
            "stages": fitted.stages,
            "peak_memory_mb": job.peak_memory_mb,
            "options": dict(options),
            "provenance": job.provenance(),
        },
    )
    context.checkpoint.remove()


def _bank_cost(inversion: Path | None) -> dict[str, float | int]:
    """What the recovered images cost that the method started from; other cells may share them."""
    if inversion is None:
        return {"bank_seconds": 0.0, "bank_passes": 0}
    path = inversion / "inversion.json"
    told = read_json(path, format=INVERSION_FORMAT, version=INVERSION_VERSION)
    seconds, passes = told.get("seconds"), told.get("teacher_passes")
    if not isinstance(seconds, int | float) or not isinstance(passes, int):
        raise FileFormatError(f"{path} does not say what the bank cost; run the inversion again")
    return {"bank_seconds": seconds, "bank_passes": passes}


def _history(fitted: Fitted) -> str:
    columns = list(dict.fromkeys(name for row in fitted.history for name in row)) or ["iteration", "seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(fitted.history)
    return text.getvalue()
