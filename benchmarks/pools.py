"""Pools of classifiers with random weights: speed does not depend on what they know."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dfml.artefacts.provenance import Provenance
from dfml.artefacts.zoo import MANIFEST, WEIGHTS, ModelEntry, ModelImages, NetworkSpec, ZooManifest
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.methods.free.settings import OFFICIAL_FREE
from dfml.networks.build import build_network
from dfml.zoo.pool import Pool
from dfml.zoo.store import save_weights

WAYS, CLASSES = 5, 64
WIDTH, LATENT, GENERATOR_WIDTH, PER_CLASS = 32, 256, 64, 20


def write_random_zoo(folder: Path, count: int, *, side: int, width: int = WIDTH) -> Path:
    """A zoo of ``count`` Conv4 of five classes each, among 64; returns its folder."""
    spec = NetworkSpec(family="conv4", width=width, ways=WAYS, side=side)
    states, entries = [], []
    for index in range(count):
        draws = torch.Generator().manual_seed(index)
        states.append(build_network(spec, generator=draws).state_dict())
        classes = torch.randperm(CLASSES, generator=draws)[:WAYS].tolist()
        chosen = ("selection_accuracy", "selection_accuracy_best", "selection_accuracy_last")
        scores = dict.fromkeys(("accuracy", *chosen), 0.0)
        images = ModelImages(train=1, selection=1, test=1)
        entries.append(ModelEntry(index=index, classes=classes, images=images, epoch_best=1, **scores))
    manifest = ZooManifest(
        dataset="random",
        architecture="conv4",
        network=spec,
        seed=0,
        side=side,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        class_names=[str(c) for c in range(CLASSES)],
        models=entries,
        weights_sha256=save_weights(folder / WEIGHTS, states),
        judges=[],
        judges_sha256=None,
        seconds=0.0,
        provenance=Provenance(git_commit=None, versions={}, host="", device=None),
    )
    manifest.save(folder / MANIFEST)
    return folder


def random_pool(count: int, *, side: int, device: torch.device, width: int = WIDTH) -> Pool:
    """A pool of such a zoo."""
    with TemporaryDirectory() as folder:
        zoo = write_random_zoo(Path(folder), count, side=side, width=width)
        return Pool.load([zoo], label_space="global", device=device)


def published_five() -> FiveSettings:
    """Five steps on four models, with the published options and no warm-up."""
    return FiveSettings.model_validate({**OFFICIAL_FREE["five"], "warmup": 0})


def published_inversion(width: int = GENERATOR_WIDTH) -> InversionSettings:
    """The paper's generator, or one of another width, and 100 images of each model."""
    return InversionSettings(
        latent=LATENT,
        width=width,
        images_per_class=PER_CLASS,
        augment="per_batch",
        five=published_five(),
    )
