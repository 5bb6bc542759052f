"""Learners on a shelf as a user finds them, and photos to classify."""

from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from dfml.artefacts.zoo import NetworkSpec
from support import manifests
from support.learners import save_learner
from support.zoo import SIDE, pattern_images, random_network

SPEC = {"family": "conv4", "width": 8, "ways": 5, "side": SIDE}
PER_CLASS = 12


def shelf_learner(folder: Path, *specs: dict[str, Any], **facts: Any) -> Path:
    """A learner of one tiny Conv4, or of networks as ``specs`` say; two kept iterates. Returns ``folder``."""
    chosen = [NetworkSpec(**spec) for spec in specs or (SPEC,)]
    states = [
        [{n: p.detach() for n, p in random_network(spec, seed).named_parameters()} for spec in chosen]
        for seed in range(2)
    ]
    one = {"toy": {"mean": [0.5, 0.4, 0.6], "std": [0.25, 0.2, 0.3]}}
    save_learner(folder, states, **({"encoders": chosen, "domains": one} | facts))
    return folder


def protonet() -> dict[str, Any]:
    """Facts of a learner that was trained with Euclidean distances."""
    told = manifests.provenance(settings={"method": {"learner": "protonet"}})
    return {"finetune": False, "provenance": told}


def photos(classes: int, per_class: int = PER_CLASS, *, seed: int = 0) -> list[Tensor]:
    """Uint8 photos ``[per_class, 3, SIDE, SIDE]`` of every class."""
    return pattern_images(classes=classes, per_class=per_class, seed=seed, split="meta_test").images


def save_photos(folder: Path, images: list[Tensor], names: list[str]) -> Path:
    """One sub-folder of PNG files per class. Returns ``folder``."""
    for name, own in zip(names, images, strict=True):
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(own):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / name / f"{index:02d}.png")
    return folder
