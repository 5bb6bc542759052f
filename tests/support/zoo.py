"""Tiny zoos: images with a pattern that a small network learns, models trained on them, models at random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS, ModelEntry, ModelImages, NetworkSpec, ZooManifest
from dfml.compute.seeds import numpy_rng, torch_generator
from dfml.data.images import SPLITS, ClassImages, save_images
from dfml.jobs.progress import NullProgress, Progress
from dfml.jobs.settings import RuntimeSettings
from dfml.networks.build import build_network
from dfml.networks.custom import describe
from dfml.networks.settings import LearnerSettings, NetworkSettings
from dfml.zoo.model import PoolModel
from dfml.zoo.settings import OptimiserSettings, ZooSettings
from dfml.zoo.stage import ZooOrder, train_part, train_zoo
from dfml.zoo.store import save_weights
from support import manifests

CPU = torch.device("cpu")
SIDE, WIDTH, WAYS = 16, 4, 3
MEAN, STD = [0.5, 0.4, 0.6], [0.25, 0.2, 0.3]


@dataclass
class QuietJob:
    """What a stage asks of its job, without a log and without changing torch's settings."""

    device: torch.device = CPU
    progress: Progress = field(default_factory=NullProgress)
    peak_memory_mb: float = 0.0
    seconds: float = 0.0
    runtime: RuntimeSettings = field(default_factory=lambda: RuntimeSettings(checkpoint_every=1))

    def when_recorded(self, remove: Callable[[], object]) -> None:
        """Nothing is recorded here."""
        remove()

    def provenance(self) -> Provenance:
        """The same of every process."""
        return Provenance(**manifests.provenance())


def pattern_images(
    *, classes: int = 8, per_class: int = 20, side: int = SIDE, seed: int = 0, split: str = "meta_train"
) -> ClassImages:
    """Classes of coarse coloured patterns under noise; a few steps of training tell them apart."""
    draws = torch_generator(seed, "patterns", split)
    images = []
    for _ in range(classes):
        pattern = F.interpolate(torch.rand(1, 3, 4, 4, generator=draws), size=side)
        noise = 0.1 * torch.randn(per_class, 3, side, side, generator=draws)
        images.append(((pattern + noise).clamp(0, 1) * 255).round().byte())
    return ClassImages("toy", split, tuple(f"{split}_{c}" for c in range(classes)), images, "CC0-1.0")


def save_pattern_images(folder: Path, **options: Any) -> Path:
    """Write all three splits of a toy data set into ``folder``; returns the path of the meta-train images."""
    save_images(folder, {split: pattern_images(split=split, **options) for split in SPLITS}, source="folder")
    return folder / "meta_train.npz"


def zoo_settings(**changes: Any) -> ZooSettings:
    """Two models and a judge, trained for a moment."""
    quick = {"models": 2, "judges": 1, "epochs": 3, "batch_size": 12, "conv4": OptimiserSettings(learning_rate=0.02)}
    return ZooSettings(**{**quick, **changes})


def tiny_zoo(
    *, seed: int = 0, width: int = WIDTH, dataset: str = "toy", code: str = "code", **changes: Any
) -> ZooOrder:
    """A Conv4 zoo of `zoo_settings`."""
    return ZooOrder(
        dataset=dataset,
        architecture="conv4",
        network=NetworkSettings(family="conv4", width=width),
        settings=zoo_settings(**changes),
        ways=WAYS,
        seed=seed,
        code=code,
    )


def train_tiny_zoo(images: Path, folder: Path, *, parts: Sequence[tuple[range, Path]] = (), **changes: Any) -> Path:
    """Train a `tiny_zoo` on saved images, or put it together from parts; returns ``folder``."""
    train_zoo(tiny_zoo(**changes), images, folder, resume=folder / "resume.pt", job=QuietJob(), parts=parts)
    return folder


def train_tiny_part(images: Path, output: Path, positions: range, **changes: Any) -> None:
    """Train some models of a `tiny_zoo`."""
    resume = output.with_suffix(".resume")
    train_part(tiny_zoo(**changes), images, output, positions, resume=resume, job=QuietJob())


def random_entries(count: int, *, ways: int = WAYS, classes: int = 8, seed: int = 0) -> list[ModelEntry]:
    """Entries with random ordered classes and made-up accuracies, all different."""
    return [
        ModelEntry(
            index=index,
            classes=numpy_rng(seed, "classes", index).permutation(classes)[:ways].tolist(),
            images=ModelImages(train=48, selection=6, test=6),
            accuracy=70.0 + 0.25 * index,
            selection_accuracy=90.0 - 0.25 * index,
            selection_accuracy_best=90.0 - 0.25 * index,
            selection_accuracy_last=80.0 - 0.25 * index,
            epoch_best=1,
        )
        for index in range(count)
    ]


def random_network(spec: NetworkSpec, seed: int) -> torch.nn.Module:
    """A frozen network with random weights and random stored statistics, in evaluation mode."""
    draws = torch_generator(seed, "network")
    network = build_network(spec, generator=draws)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=draws)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=draws)
    return network.requires_grad_(False).eval()


def write_random_zoo(
    folder: Path,
    *,
    dataset: str = "toy",
    architecture: str = "conv4",
    family: str = "conv4",
    models: int = 4,
    judges: int = 1,
    ways: int = WAYS,
    classes: int = 8,
    side: int = SIDE,
    seed: int = 0,
    **facts: Any,
) -> Path:
    """Write a zoo of untrained networks; ``facts`` replace entries of its manifest. Returns ``folder``."""
    spec = describe(LearnerSettings(family=family, width=WIDTH), ways=ways, side=side)
    states = [random_network(spec, 1000 * seed + index).state_dict() for index in range(models + judges)]
    entries = random_entries(models, ways=ways, classes=classes, seed=seed)
    manifest = {
        "dataset": dataset,
        "architecture": architecture,
        "network": spec,
        "seed": seed,
        "side": side,
        "mean": MEAN,
        "std": STD,
        "class_names": [f"{dataset}_{c}" for c in range(classes)],
        "models": entries,
        "weights_sha256": save_weights(folder / WEIGHTS, states[:models]),
        "judges": entries[:judges],
        "judges_sha256": save_weights(folder / JUDGES, states[models:]) if judges else None,
        "seconds": 0.0,
        "provenance": Provenance(**manifests.provenance()),
    }
    ZooManifest(**{**manifest, **facts}).save(folder / MANIFEST)
    return folder


def random_model(
    *, seed: int = 0, family: str = "conv4", ways: int = WAYS, dtype: torch.dtype = torch.float64, **facts: Any
) -> PoolModel:
    """One frozen model of a pool with random weights; ``facts`` replace its fields, and its network."""
    spec = NetworkSpec(family=family, width=WIDTH, ways=ways, side=SIDE)
    network = facts.pop("network", None) or random_network(spec, seed).to(dtype)
    fields = {
        "index": seed,
        "source": lambda: network,
        "spec": spec,
        "classes": torch.arange(ways),
        "mean": torch.tensor(MEAN),
        "std": torch.tensor(STD),
        "side": SIDE,
        "dataset": "toy",
        "architecture": family,
        "selection_accuracy": 90.0,
    }
    return PoolModel(**{**fields, **facts})


def storages(tensors: Any) -> set[int]:
    """Addresses of the memory that holds the tensors."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree to the bit, type and shape included."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
