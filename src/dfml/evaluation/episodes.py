"""Accuracies of a learner on fixed few-shot episodes, the same for every method (docs/method.md §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from dfml.artefacts.accuracies import percent
from dfml.compute.placement import channels_last
from dfml.compute.workers import side_by_side
from dfml.data.episodes import Episodes, gather, sample_episodes
from dfml.data.images import ClassImages
from dfml.evaluation.settings import EvaluationSettings
from dfml.jobs.progress import ProgressTask
from dfml.metalearning.learner import Learner


@dataclass(frozen=True)
class EpisodeSet:
    """Episodes of one split of one data set, with the images on the device."""

    dataset: str
    images: Tensor
    offsets: Tensor
    episodes: Episodes

    @classmethod
    def draw(
        cls, data: ClassImages, *, ways: int, shots: int, settings: EvaluationSettings, count: int, device: torch.device
    ) -> EpisodeSet:
        """The fixed list of ``count`` episodes of ``data``; raises DataError when its classes are too small."""
        episodes = sample_episodes(
            data.counts,
            ways=ways,
            shots=shots,
            queries=settings.queries,
            episodes=count,
            seed=settings.episode_seed,
            split=data.split,
            names=data.names,
        )
        images, offsets = data.packed()
        return cls(data.dataset, images.to(device), offsets, episodes)

    @property
    def answers(self) -> int:
        """Query images of an episode, all classes together."""
        return self.episodes.ways * self.episodes.queries


ByRule = dict[tuple[str, str], np.ndarray]
"""A number for every episode, ``[episodes]``, by (rule, batch-norm mode)."""

# Pixels of all images that one batch of episodes may have on a GPU: at width 32 about 1 GB for an activation of the
# first block.
PIXELS_AT_ONCE = 1 << 23

# Episodes that a CPU thread takes at a time.
EPISODES_PER_THREAD = 8


def right_answers(
    learner: Learner, episodes: EpisodeSet, progress: ProgressTask | None = None, *, batched: bool | None = None
) -> ByRule:
    """How many of its ``episodes.answers`` queries were answered rightly in every episode, int64.

    The learner is read only.

    Args:
        learner: what adapts.
        episodes: the tasks.
        progress: told of every batch that is done.
        batched: many episodes in one ``vmap``; by default on CUDA only, and not with modules from elsewhere, which may
            not be made for it. On a CPU, where that is slower, threads share the episodes.
    """
    if batched is None:
        batched = episodes.images.device.type == "cuda" and not any(e.normalises for e in learner.encoders)
    found: dict[tuple[str, str], list[Tensor]] = {}
    for rights in _together(learner, episodes) if batched else _one_by_one(learner, episodes):
        for key, values in rights.items():
            found.setdefault(key, []).append(values)
        if progress is not None:
            progress.advance(len(next(iter(rights.values()))))
    return {key: torch.cat(values).numpy(force=True) for key, values in found.items()}


def episode_accuracies(learner: Learner, episodes: EpisodeSet, *, batched: bool | None = None) -> ByRule:
    """Accuracy in percent of every episode; all else as :func:`right_answers`."""
    counts = right_answers(learner, episodes, batched=batched)
    return {key: percent(right, episodes.answers) for key, right in counts.items()}


Rights = dict[tuple[str, str], Tensor]  # how many right answers, [episodes of a batch]


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    return (scores.argmax(-1) == labels).sum(-1)


def _one_by_one(learner: Learner, episodes: EpisodeSet) -> Iterator[Rights]:
    listed = episodes.episodes

    def run(start: int) -> Rights:
        rows: dict[tuple[str, str], list[Tensor]] = {}
        with learner.private() as own:
            for index in range(start, min(start + EPISODES_PER_THREAD, len(listed))):
                batch = gather(episodes.images, episodes.offsets, listed, index)
                support, query = (channels_last(own.prepare(x)) for x in (batch.support, batch.query))
                for key, scores in own.all_scores(support, query, batch.support_labels, listed.ways).items():
                    rows.setdefault(key, []).append(_right(scores, batch.query_labels))
        return {key: torch.stack(values) for key, values in rows.items()}

    return side_by_side(run, range(0, len(listed), EPISODES_PER_THREAD))


def _together(learner: Learner, episodes: EpisodeSet) -> Iterator[Rights]:
    listed = episodes.episodes
    images = listed.ways * (listed.shots + listed.queries)
    side = max(own or episodes.images.shape[-1] for own in learner.sides)
    size = max(1, PIXELS_AT_ONCE // (images * side**2))
    for start in range(0, len(listed), size):
        batch = gather(episodes.images, episodes.offsets, listed, slice(start, start + size))
        answer = partial(learner.all_scores, labels=batch.support_labels, ways=listed.ways, in_transform=True)
        scores = vmap(answer)(learner.prepare(batch.support), learner.prepare(batch.query))
        yield {key: _right(values, batch.query_labels) for key, values in scores.items()}
