"""Evaluation of a learner: every rule and batch-norm mode on fixed few-shot episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.arms import Arm, Case
from benchmarks.reference import evaluation as plain
from benchmarks.report import run
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import to_device
from dfml.data.episodes import gather, sample_episodes
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.imaging.pixels import normalise
from dfml.metalearning.learner import BATCH_NORM_MODES, RULES, Learner
from dfml.networks.build import build_network, forward_macs
from dfml.networks.classifier import Classifier

WAYS, QUERIES, STEPS, RATE = 5, 15, 10, 0.01
CLASSES, PER_CLASS = 20, 40


def case(side: int, *, shots: int = 1, width: int = 32, episodes: int = 40, rounds: int = 5) -> Case:
    """A Conv4 of the paper's width, or of the default experiment's."""
    options = {"side": side, "shots": shots, "width": width, "episodes": episodes}
    support, query = WAYS * shots, WAYS * QUERIES
    # Features and fine-tuned answers, each under two sources of statistics; a step passes forward and back.
    passes = 2 * (support + query) + 3 * STEPS * support + support + 2 * query
    return Case(
        f"evaluation, Conv4-{width} {side} px, {WAYS}-way {shots}-shot, {episodes} episodes (per episode)",
        Arm("benchmarks.evaluation:ours", options),
        Arm("benchmarks.evaluation:reference", options, plain=True),
        units=episodes,
        rounds=rounds,
        flops=2 * passes * forward_macs(_network(side, width), side),
    )


def cases(device: str) -> Sequence[Case]:
    """The paper's width, the default experiment's, and 5-shot."""
    return [case(32), case(32, width=16), case(32, shots=5, rounds=3)]


def _network(side: int, width: int) -> Classifier:
    spec = NetworkSpec(family="conv4", width=width, ways=WAYS, side=side)
    return build_network(spec, generator=torch.Generator().manual_seed(0), episodic=True)


def _episodes(side: int, shots: int, episodes: int, device: torch.device) -> EpisodeSet:
    """Noise around one pattern per class, as bytes."""
    draws = torch.Generator().manual_seed(1)
    patterns = torch.rand(CLASSES, 1, 3, side, side, generator=draws)
    noise = torch.rand(CLASSES, PER_CLASS, 3, side, side, generator=draws)
    images = (255 * (0.1 * patterns + 0.9 * noise)).to(torch.uint8).flatten(0, 1)
    chosen = sample_episodes(
        [PER_CLASS] * CLASSES,
        ways=WAYS,
        shots=shots,
        queries=QUERIES,
        episodes=episodes,
        seed=0,
        split="meta_test",
        names=[f"class {number}" for number in range(CLASSES)],
    )
    return EpisodeSet("benchmark", images.to(device), torch.arange(CLASSES) * PER_CLASS, chosen)


def ours(*, device: torch.device, side: int, shots: int, width: int, episodes: int) -> Callable[[], Tensor]:
    """Dfml's; returns the accuracies by rule, mode and episode."""
    half = torch.full((3,), 0.5, device=device)
    network = to_device(_network(side, width), device)
    learner = Learner([network], mean=half, std=half / 2, finetune=True, steps=STEPS, learning_rate=RATE)
    tasks = _episodes(side, shots, episodes, device)

    def work() -> Tensor:
        found = episode_accuracies(learner, tasks)
        return torch.from_numpy(np.stack([found[rule, mode] for rule in RULES for mode in BATCH_NORM_MODES]))

    return work


def reference(*, device: torch.device, side: int, shots: int, width: int, episodes: int) -> Callable[[], Tensor]:
    """The plain loop over episodes, rules and modes."""
    weights = [p.detach().to(device).requires_grad_() for p in _network(side, width).parameters()]
    tasks = _episodes(side, shots, episodes, device)
    half = torch.full((3,), 0.5, device=device)

    def work() -> Tensor:
        found = []
        for index in range(episodes):
            batch = gather(tasks.images, tasks.offsets, tasks.episodes, index)
            support, query = (normalise(x.float() / 255, half, half / 2) for x in (batch.support, batch.query))
            labels = batch.support_labels, batch.query_labels
            found.append(plain.accuracies(weights, support, labels[0], query, labels[1], steps=STEPS, rate=RATE))
        return torch.tensor(found, dtype=torch.float64).T

    return work


if __name__ == "__main__":
    run("Evaluation", cases)
