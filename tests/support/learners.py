"""The smallest learners, episodes and wrapped classifiers that tests of meta-learning need, made in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfml.artefacts.learner import MANIFEST, WEIGHTS, LearnerManifest, Normalisation, SnapshotEntry
from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import NetworkSpec
from dfml.metalearning.learner import Learner
from dfml.metalearning.store import save_weights
from dfml.networks.build import build_network
from dfml.zoo.model import PoolModel
from support import manifests
from support.zoo import SIDE, WAYS, WIDTH, random_model

SPEC = NetworkSpec(family="conv4", width=WIDTH, ways=WAYS, side=SIDE)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: on tiny tensors more of them only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int) -> torch.Generator:
    """A seeded CPU generator."""
    return torch.Generator().manual_seed(seed)


def encoder(seed: int = 0, spec: NetworkSpec = SPEC) -> nn.Module:
    """An episodic network with seeded weights."""
    return build_network(spec, generator=generator(seed), episodic=True)


def learner(*encoders: nn.Module, finetune: bool = True, steps: int = 3, learning_rate: float = 0.1) -> Learner:
    """A learner of these encoders, by default of one tiny Conv4, that does not normalise."""
    return Learner(
        encoders or (encoder(),),
        mean=torch.zeros(3),
        std=torch.ones(3),
        finetune=finetune,
        steps=steps,
        learning_rate=learning_rate,
    )


def task(seed: int = 0, *, shots: int = 2, queries: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support images, their labels, query images and their labels: noise around one colour per class."""
    draws = generator(seed)
    colours = torch.linspace(0.2, 0.8, WAYS)[:, None, None, None]

    def images(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(WAYS).repeat_interleave(count)
        noise = 0.2 * torch.rand(len(labels), 3, SIDE, SIDE, generator=draws)
        return colours[labels] + noise - 0.1, labels

    return *images(shots), *images(queries)


def wrapped(network: nn.Module, classes: Tensor, *, index: int = 0) -> PoolModel:
    """Any module as a frozen classifier of a pool; it does not normalise."""
    frozen = network.requires_grad_(False)
    return random_model(seed=index, network=frozen, classes=classes, mean=torch.zeros(3), std=torch.ones(3))


def save_learner(folder: Path, states: list[list[dict[str, Tensor]]], **facts: Any) -> None:
    """Write a learner with these weights; ``facts``, plain values, replace what its manifest says otherwise."""
    weights = save_weights(folder / WEIGHTS, states)
    told = manifests.learner(domains={}, weights_sha256=weights) | facts
    told |= {
        "encoders": [NetworkSpec(**dict(spec)) for spec in told["encoders"]],
        "snapshots": [SnapshotEntry(**snapshot) for snapshot in told["snapshots"]],
        "domains": {name: Normalisation(**own) for name, own in told["domains"].items()},
        "provenance": Provenance(**told["provenance"]),
    }
    LearnerManifest(**manifests.fields(told)).save(folder / MANIFEST)
