"""The `meta_learn` stage: run one method on one cell and put the learner on the shelf."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dfml.artefacts.images import MANIFEST as IMAGES
from dfml.artefacts.inversion import BANK, RECORD, InversionRecord
from dfml.artefacts.learner import HISTORY, MANIFEST, WEIGHTS, LearnerManifest, Normalisation, SnapshotEntry
from dfml.artefacts.zoo import MANIFEST as ZOO
from dfml.files.reading import digest_json, sha256_file
from dfml.metalearning.store import save_weights
from dfml.methods.base import Context, Fitted
from dfml.methods.custom import load_fit
from dfml.methods.finite import check_learner
from dfml.methods.history import GrowingHistory, Row, later, read_history, write_history
from dfml.methods.settings import MethodSettings


def load_settings(where: str, options: Mapping[str, Any]) -> MethodSettings | None:
    """A method's section, given as plain values; ``where`` is ``module:Class``, or empty for a method without one."""
    if not where:
        return None
    section: type[MethodSettings] = _named(where)
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
    before, rows = None, []
    if context.base is not None:
        before, rows = LearnerManifest.load(context.base / MANIFEST), read_history(context.base / HISTORY)
    context = replace(
        context,
        digest=_digest(context, code, fit if isinstance(fit, Path) else None),
        history=GrowingHistory(folder / HISTORY, rows, before.train_seconds if before else 0.0),
    )
    fitted: Fitted = (load_fit(context.method, fit) if isinstance(fit, Path) else _named(fit))(context)
    for snapshot in fitted.snapshots:
        check_learner(context, snapshot.states, snapshot.iteration)
    bank_seconds, bank_passes = _bank_cost(context.inversion)
    memory = context.job.peak_memory_mb
    if before is not None:
        memory = max(memory, before.peak_memory_mb or 0.0)
        fitted = _continued(before, rows, fitted)
        bank_seconds, bank_passes = bank_seconds or before.bank_seconds, bank_passes or before.bank_passes
    write_history(folder / HISTORY, fitted.history)
    LearnerManifest(
        **asdict(context.cell),
        ways=context.ways,
        encoders=list(fitted.specs),
        snapshots=[SnapshotEntry(iteration=s.iteration, seconds=s.seconds) for s in fitted.snapshots],
        finetune=fitted.finetune,
        head_only=fitted.head_only,
        mean=fitted.mean.tolist(),
        std=fitted.std.tolist(),
        domains={
            name: Normalisation(mean=mean.tolist(), std=std.tolist()) for name, (mean, std) in fitted.domains.items()
        },
        train_seconds=sum(fitted.stages.values()),
        teacher_passes=fitted.teacher_passes,
        train_episodes=fitted.train_episodes,
        bank_seconds=bank_seconds,
        bank_passes=bank_passes,
        stages=fitted.stages,
        peak_memory_mb=memory,
        options=context.options,
        weights_sha256=save_weights(folder / WEIGHTS, [snapshot.states for snapshot in fitted.snapshots]),
        provenance=context.job.provenance(),
    ).save(folder / MANIFEST)
    context.job.when_recorded(context.forget)


def _named(where: str) -> Any:
    """What ``module:name`` names; imported only now, so that an edit of one method concerns its own cells alone."""
    module, name = where.split(":")
    return getattr(importlib.import_module(module), name)


def _plain(section: BaseModel | None) -> dict[str, Any]:
    return {} if section is None else section.model_dump(mode="json")


def _digest(context: Context, code: str, file: Path | None) -> str:
    """Of everything that the learner depends on."""
    inputs = [path / ZOO for path in context.zoos]
    inputs += [context.inversion / BANK] if context.inversion else []
    inputs += [context.base / WEIGHTS] if context.base else []
    inputs += [path / IMAGES for path in context.images] + ([file] if file else [])
    made_of = [code, vars(context.cell), context.ways, context.label_space, context.access, context.adapts]
    made_of += [_plain(context.learner), context.options, _plain(context.inversion_settings)]
    return digest_json(made_of + [sha256_file(path) for path in inputs])


def _bank_cost(inversion: Path | None) -> tuple[float, int]:
    """Seconds and passes of the teacher for the images that the method started from; other cells may share them."""
    if inversion is None:
        return 0.0, 0
    record = InversionRecord.load(inversion / RECORD)
    return record.seconds, record.teacher_passes


def _continued(before: LearnerManifest, rows: list[Row], fitted: Fitted) -> Fitted:
    """With the cost and history of the learner that it began with, whose steps lie before its first iteration."""
    earlier = before.train_seconds
    return replace(
        fitted,
        snapshots=[replace(snapshot, seconds=snapshot.seconds + earlier) for snapshot in fitted.snapshots],
        history=rows + later(fitted.history, earlier),
        stages=before.stages | fitted.stages,
        teacher_passes=before.teacher_passes + fitted.teacher_passes,
    )
