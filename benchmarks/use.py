"""A learner in use: adapting to some photos of each class, and answering for one photo in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.arms import Arm, Case
from benchmarks.reference import evaluation as plain
from benchmarks.report import run
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import to_device
from dfml.imaging.pixels import normalise
from dfml.metalearning.learner import Learner
from dfml.networks.build import build_network, forward_macs
from dfml.networks.classifier import Classifier
from dfml.use.frozen import FrozenClassifier
from dfml.use.pictures import read_picture

WAYS, SHOTS, STEPS, RATE = 5, 5, 10, 0.01
PHOTO = (640, 480)


def case(name: str, task: str, *, side: int, width: int, passes: int, repeats: int) -> Case:
    """One of the two tasks, ``adapting`` or ``answering``, done ``repeats`` times."""
    options = {"side": side, "width": width, "repeats": repeats}
    return Case(
        f"{name}, Conv4-{width} {side} px, {WAYS} classes, {SHOTS} photos of each",
        Arm(f"benchmarks.use:{task}", options),
        Arm(f"benchmarks.use:plain_{task}", options, plain=True),
        units=repeats,
        flops=2 * passes * forward_macs(_network(side, width), side),
    )


def cases(device: str) -> Sequence[Case]:
    """The paper's width."""
    support = WAYS * SHOTS
    return [
        # A step passes forward and back; the last pass is for the statistics.
        case("adapting", "adapting", side=32, width=32, passes=(3 * STEPS + 1) * support, repeats=4),
        case("answering for one photo", "answering", side=32, width=32, passes=1, repeats=20),
    ]


def _spec(side: int, width: int) -> NetworkSpec:
    return NetworkSpec(family="conv4", width=width, ways=WAYS, side=side)


def _network(side: int, width: int) -> Classifier:
    return build_network(_spec(side, width), generator=torch.Generator().manual_seed(0), episodic=True)


def _support(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise around one pattern per class, in [0, 1], and labels."""
    draws = torch.Generator().manual_seed(1)
    patterns, noise = (torch.rand(WAYS, shots, 3, side, side, generator=draws) for shots in (1, SHOTS))
    labels = torch.arange(WAYS, device=device).repeat_interleave(SHOTS)
    return (0.3 * patterns + 0.7 * noise).flatten(0, 1).to(device), labels


def _photo(folder: str) -> Path:
    """A photo of noise as JPEG."""
    width, height = PHOTO
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    path = Path(folder) / "photo.jpg"
    Image.fromarray(pixels).resize(PHOTO).save(path)
    return path


def _frozen(side: int, width: int, device: torch.device) -> FrozenClassifier:
    half = torch.full((3,), 0.5, device=device)
    network = to_device(_network(side, width).requires_grad_(False), device)
    learner = Learner([network], mean=half, std=half / 2, finetune=True, steps=STEPS, learning_rate=RATE)
    return FrozenClassifier.of(learner, [_spec(side, width)], *_support(side, device), rule="finetune")


def adapting(*, device: torch.device, side: int, width: int, repeats: int) -> Callable[[], Tensor]:
    """Dfml's; returns the adapted head."""

    def work() -> Tensor:
        for _ in range(repeats):
            frozen = _frozen(side, width, device)
        return frozen.networks[0].head.weight

    return work


def plain_adapting(*, device: torch.device, side: int, width: int, repeats: int) -> Callable[[], Tensor]:
    """The plain loop over steps."""
    weights = [p.detach().to(device) for p in _network(side, width).parameters()]
    images, labels = _support(side, device)

    def work() -> Tensor:
        for _ in range(repeats):
            prepared = _normalised(images)
            own = plain.fine_tuned(weights, prepared, labels, steps=STEPS, rate=RATE)
        return own[16].detach()

    return work


@torch.no_grad()
def answering(*, device: torch.device, side: int, width: int, repeats: int) -> Callable[[], Tensor]:
    """Dfml's, which keeps the statistics of the support set; returns probabilities."""
    frozen = _frozen(side, width, device)
    folder = TemporaryDirectory()
    photo = _photo(folder.name)

    @torch.no_grad()
    def work(_keeps: TemporaryDirectory[str] = folder) -> Tensor:
        for _ in range(repeats):
            found = frozen(read_picture(photo, side)[None].to(device))
        return found

    return work


def plain_answering(*, device: torch.device, side: int, width: int, repeats: int) -> Callable[[], Tensor]:
    """The plain way, which passes the support set beside every photo."""
    weights = [p.detach().to(device) for p in _network(side, width).parameters()]
    images, labels = _support(side, device)
    support = _normalised(images)
    own = [w.detach() for w in plain.fine_tuned(weights, support, labels, steps=STEPS, rate=RATE)]
    folder = TemporaryDirectory()
    photo = _photo(folder.name)

    @torch.no_grad()
    def work(_keeps: TemporaryDirectory[str] = folder) -> Tensor:
        for _ in range(repeats):
            with Image.open(photo) as opened:
                picture = opened.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            query = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(device).float() / 255
            together = torch.cat([support, _normalised(query)])
            found = F.linear(plain.features(own, together, len(support))[-1:], own[16], own[17]).softmax(1)
        return found

    return work


def _normalised(images: Tensor) -> Tensor:
    half = torch.full((3,), 0.5, device=images.device)
    return normalise(images, half, half / 2)


if __name__ == "__main__":
    run("Use of a learner", cases)
