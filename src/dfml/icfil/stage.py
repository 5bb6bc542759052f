"""The `calibrate` stage: one learner on the first meta-test episodes, with ICFIL and without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dfml.config.evaluation import EvaluationSettings
from dfml.config.icfil import IcfilSettings
from dfml.data.augment import normalise
from dfml.data.episodes import gather
from dfml.data.images import load_images
from dfml.evaluation import EpisodeSet
from dfml.icfil import FORMAT, VERSION
from dfml.icfil.correction import corrected, inverted
from dfml.metalearning.learner import BATCH_NORM_MODES, Learner
from dfml.metalearning.learner_store import load_learner
from dfml.runtime.device import describe_device
from dfml.runtime.files import write_json
from dfml.runtime.job import Job
from dfml.runtime.layout import laid_out
from dfml.runtime.seeds import torch_generator
from dfml.runtime.workers import side_by_side
from dfml.statistics import interval95

if TYPE_CHECKING:
    from dfml.config.root import Cell  # configuration as a whole is no part of what this stage computes


def calibrate(
    learner: Path,
    images: Sequence[Path],
    output: Path,
    *,
    cell: Cell,
    ways: int,
    evaluation: EvaluationSettings,
    settings: IcfilSettings,
    job: Job,
) -> None:
    """Answer the first episodes of every data set twice, and write both accuracies and their difference.

    The learner is its last iterate, fine-tuned as in evaluation; episodes are those of evaluation.

    Raises:
        DataError: a meta-test class is too small for the episodes.
        FileFormatError: the learner or the images are damaged.
    """
    _, learners = load_learner(
        learner, steps=evaluation.adaptation_steps, learning_rate=evaluation.adaptation_learning_rate, device=job.device
    )
    count = min(settings.episodes, evaluation.episodes)
    results = []
    with job.progress.task(f"ICFIL {cell.method}", total=len(images) * count) as bar:
        for folder in images:
            test = EpisodeSet.draw(
                load_images(folder / "meta_test.npz"),
                ways=ways,
                shots=cell.shots,
                settings=evaluation,
                count=count,
                device=job.device,
            )
            own, pairs = learners[-1].for_domain(test.dataset), []
            for pair in side_by_side(
                lambda i, own=own, test=test: episode(own, test, i, settings, cell.seed), range(count)
            ):
                pairs.append(pair)
                bar.advance()
            results += _rows(test.dataset, np.array(pairs))
    write_json(
        output,
        {
            "format": FORMAT,
            "version": VERSION,
            "pool": cell.pool,
            "method": cell.method,
            "ways": ways,
            "shots": cell.shots,
            "seed": cell.seed,
            "results": results,
            "seconds": job.seconds,
            "device": describe_device(job.device),
            "provenance": job.provenance(),
        },
    )


def episode(
    learner: Learner, episodes: EpisodeSet, index: int, settings: IcfilSettings, seed: int
) -> list[list[float]]:
    """Accuracy in percent on one episode: a pair (without, with) for each batch-norm mode."""
    batch = gather(episodes.images, episodes.offsets, episodes.episodes, index)
    with learner.private() as own:
        support, query = (laid_out(own.prepare(images)) for images in (batch.support, batch.query))
        adapted = own.finetuned(support, batch.support_labels)
        low, high = (normalise(torch.full_like(support[:1, :, :1, :1], end), own.mean, own.std) for end in (0.0, 1.0))
        draws = torch_generator(seed, "icfil", index)
        with torch.enable_grad():
            recovered = inverted(
                own.encoders[0], adapted, (low, high), side=support.shape[-1], settings=settings, draws=draws
            )
            after = corrected(own.encoders[0], adapted, (support, batch.support_labels), recovered, settings)
        return [
            [
                100
                * float((own.finetuned_scores(p, support, query, mode).argmax(1) == batch.query_labels).double().mean())
                for p in (adapted, after)
            ]
            for mode in BATCH_NORM_MODES
        ]


def _rows(dataset: str, pairs: np.ndarray) -> list[dict[str, float | int | str]]:
    """One row per batch-norm mode of accuracies ``[episodes, modes, 2]``; the difference is paired by episode."""
    rows = []
    for place, mode in enumerate(BATCH_NORM_MODES):
        without, using = pairs[:, place].T
        rows.append({"dataset": dataset, "batch_norm": mode, "episodes": len(pairs)})
        for name, values in (("without", without), ("with", using), ("difference", using - without)):
            rows[-1] |= {name: float(values.mean()), f"{name}_ci95": interval95(values)}
    return rows
