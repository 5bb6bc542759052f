"""The `meta_learn` stage: run one method on one cell and put the learner on the shelf."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dfml.artefacts.base import INVERSION_FORMAT, INVERSION_VERSION
from dfml.artefacts.learner import HISTORY
from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.reading import digest_json, read_json, sha256_file
from dfml.metalearning.store import save_learner
from dfml.methods.base import Context, Fitted
from dfml.methods.custom import load_fit
from dfml.methods.settings import MethodSettings


def load_settings(where: str, options: Mapping[str, Any]) -> MethodSettings | None:
    """A method's section, given as plain values; ``where`` is ``module:Class``, or empty for a method without one."""
    if not where:
        return None
    module, name = where.split(":")
    section: type[MethodSettings] = getattr(importlib.import_module(module), name)
    return section.model_validate(dict(options))


def fit_cell(context: Context, folder: Path, *, fit: str | Path, code: str) -> None:
    """Fit the cell's method and write ``learner.safetensors``, ``learner.json`` and ``history.csv`` into ``folder``.

    Args:
        context: The cell and its inputs.
        folder: Where the learner goes.
        fit: ``module:function`` of the method, or the file of one that the catalogue does not list.
        code: Digest of the code at work: a run that other code began is not continued.

    Raises:
        DfmlError: what the method and the readers of its inputs raise.
    """
    context = replace(context, digest=_digest(context, code, fit if isinstance(fit, Path) else None))
    if isinstance(fit, Path):
        function = load_fit(context.method, fit)
    else:
        # Imported by name, so that an edit of one method concerns its own cells alone.
        module, name = fit.split(":")
        function = getattr(importlib.import_module(module), name)
    fitted: Fitted = function(context)
    cell, job = context.cell, context.job
    atomic_write(folder / HISTORY, _history(fitted).encode())
    save_learner(
        folder,
        [snapshot.states for snapshot in fitted.snapshots],
        {
            "pool": cell.pool,
            "method": cell.method,
            "ways": context.ways,
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
            **_bank_cost(context.inversion),
            "stages": fitted.stages,
            "peak_memory_mb": job.peak_memory_mb,
            "options": context.options,
            "provenance": job.provenance(),
        },
    )
    context.checkpoint.remove()


def _plain(section: BaseModel | None) -> dict[str, Any]:
    return {} if section is None else section.model_dump(mode="json")


def _digest(context: Context, code: str, file: Path | None) -> str:
    """Of everything that the learner depends on."""
    inputs = [path / "zoo.json" for path in context.zoos]
    inputs += [context.inversion / "bank.npz"] if context.inversion else []
    inputs += [path / "images.json" for path in context.images] + ([file] if file else [])
    made_of = [code, vars(context.cell), context.ways, context.label_space, context.access, context.adapts]
    made_of += [_plain(context.learner), context.options, _plain(context.inversion_settings)]
    return digest_json(made_of + [sha256_file(path) for path in inputs])


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
