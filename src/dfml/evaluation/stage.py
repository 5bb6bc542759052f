"""The `evaluate` stage: one learner on the fixed episodes of its pool's data sets (docs/method.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies, accuracies_digest
from dfml.artefacts.base import Cell
from dfml.artefacts.cell import Learning
from dfml.artefacts.images import MANIFEST, ImagesManifest
from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.record import CurvePoint, Record, Result
from dfml.compute.device import describe_device
from dfml.data.images import load_images
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies, right_answers
from dfml.evaluation.intervals import combine_intervals, interval95
from dfml.evaluation.settings import EvaluationSettings
from dfml.files.reading import digest_json
from dfml.jobs.job import Job
from dfml.metalearning.learner import Learner
from dfml.metalearning.store import load_learner
from dfml.networks.build import forward_macs


def inference_macs(learner: Learner, side: int) -> int:
    """Multiply-adds for one image of ``side`` pixels; an encoder made for another side sees it at that one."""
    return sum(forward_macs(e, own or side) for e, own in zip(learner.encoders, learner.sides, strict=True))


def evaluate(
    learner: Path,
    images: Sequence[Path],
    output: Path,
    *,
    cell: Cell,
    experiment: str,
    ways: int,
    settings: EvaluationSettings,
    config_digest: str,
    job: Job,
) -> None:
    """Measure one learner on episodes of every data set of its pool and write ``record.json``.

    Its episodes one by one are in ``accuracies.npz`` beside it, which is written first: a record is never without.
    Kept iterates are measured on meta-val episodes for the learning curve, where a data set has them. The reported
    iterate is the last one or the best on meta-val; images of the reported split are read after the choice (F01).

    Raises:
        DataError: a meta-test or meta-val class is too small for the episodes.
        FileFormatError: the learner or the images are damaged.
    """
    manifest, learners = load_learner(
        learner, steps=settings.adaptation_steps, learning_rate=settings.adaptation_learning_rate, device=job.device
    )

    def drawn(split: str, count: int, folders: Sequence[Path]) -> list[EpisodeSet]:
        """The episodes of one split of every data set."""
        return [
            EpisodeSet.draw(
                load_images(folder / f"{split}.npz"),
                ways=ways,
                shots=cell.shots,
                settings=settings,
                count=count,
                device=job.device,
            )
            for folder in folders
        ]

    curve: list[CurvePoint] = []
    if settings.validation_episodes and len(learners) > 1:
        least = {"classes": ways, "images": cell.shots + settings.queries}
        held = [folder for folder in images if ImagesManifest.load(folder / MANIFEST).enough_for_a_curve(**least)]
        validation = drawn("meta_val", settings.validation_episodes, held)
        curve = _curve(manifest, learners, validation, job) if held else []
    chosen = _select(settings.select, curve, len(learners), manifest)

    digests, counts = {}, {}
    tests = drawn(settings.split, settings.episodes, images)
    with job.progress.task(
        f"{settings.split.replace('_', '-')} {cell.method}", total=len(tests) * settings.episodes
    ) as bar:
        for test in tests:
            digests[test.dataset] = test.episodes.digest()
            for key, right in right_answers(learners[chosen].for_domain(test.dataset), test, bar).items():
                counts[test.dataset, *key] = right
    # Data sets have equally many ways and queries, hence answers.
    accuracies = EpisodeAccuracies(tests[0].answers, counts)
    accuracies.save(output.with_name(ACCURACIES))
    provenance = job.provenance()
    learning = manifest.fields_of(Learning)
    learning["stages"] = {**manifest.stages, "evaluation": job.seconds}
    Record(
        **asdict(cell),
        **learning,
        ways=ways,
        experiment=experiment,
        results=_results(accuracies),
        split=settings.split,
        selection=settings.select,
        iterate=manifest.snapshots[chosen].iteration,
        episode_digest=digest_json(digests),
        inference_macs=inference_macs(learners[chosen], tests[0].images.shape[-1]),
        curve=curve,
        device=describe_device(job.device),
        git_commit=provenance.git_commit,
        config_digest=config_digest,
        provenance=provenance,
    ).save(output)


def _results(accuracies: EpisodeAccuracies) -> list[Result]:
    """Mean and interval over the episodes of everything that was measured."""
    results = []
    for key in accuracies.right:
        values = accuracies.percent(key)
        results.append(
            Result(
                **dict(zip(("dataset", "rule", "batch_norm"), key, strict=True)),
                accuracy=float(values.mean()),
                ci95=interval95(values),
                episodes=len(values),
                accuracies_digest=accuracies_digest(values),
            )
        )
    return results


def _curve(
    manifest: LearnerManifest, learners: Sequence[Learner], validation: Sequence[EpisodeSet], job: Job
) -> list[CurvePoint]:
    """Meta-val accuracy of every kept iterate, averaged over data sets, by rule and batch-norm mode."""
    points: list[CurvePoint] = []
    with job.progress.task("meta-val", total=len(learners)) as bar:
        for snapshot, learner in zip(manifest.snapshots, learners, strict=True):
            per_set = [episode_accuracies(learner.for_domain(own.dataset), own) for own in validation]
            for key in per_set[0]:
                values = [accuracies[key] for accuracies in per_set]
                points.append(
                    CurvePoint(
                        iteration=snapshot.iteration,
                        seconds=snapshot.seconds,
                        accuracy=float(np.mean([own.mean() for own in values])),
                        ci95=combine_intervals([interval95(own) for own in values]),
                        rule=key[0],
                        batch_norm=key[1],
                    )
                )
            bar.advance()
    return points


def _select(select: str, curve: Sequence[CurvePoint], count: int, manifest: LearnerManifest) -> int:
    """Index of the reported iterate: the last, or the best mean meta-val accuracy over rules and modes."""
    if select == "last" or not curve:
        return count - 1
    means = [
        np.mean([point.accuracy for point in curve if point.iteration == snapshot.iteration])
        for snapshot in manifest.snapshots
    ]
    return int(np.argmax(means))
