"""Zoo training: many Conv4 of random tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.arms import Arm, Case
from benchmarks.reference import zoo as plain
from benchmarks.report import run
from dfml.artefacts.zoo import NetworkSpec
from dfml.networks.build import build_network, forward_macs
from dfml.zoo.settings import ZooSettings
from dfml.zoo.stage import train_models
from dfml.zoo.training import ModelTask, ModelTraining, Part

WAYS, WIDTH = 5, 32


def case(side: int, *, models: int, epochs: int, images: int = 2400, rounds: int = 3) -> Case:
    """Some models and epochs of the published recipe: 480 images a class, batches of 128, no augmentation."""
    options = {"side": side, "models": models, "epochs": epochs, "images": images}
    network = build_network(NetworkSpec(family="conv4", width=WIDTH, ways=WAYS, side=side))
    activations = WIDTH * sum((side // 2**block) ** 2 for block in range(4))
    return Case(
        f"zoo, {models} Conv4-{WIDTH} {side} px, {epochs} epochs of {images} images (per model and epoch)",
        Arm("benchmarks.zoo:ours", options),
        Arm("benchmarks.zoo:reference", options, plain=True),
        units=models * epochs,
        rounds=rounds,
        flops=2 * 3 * forward_macs(network, side) * images,
        bytes=4 * 3 * 5 * activations * images,
    )


def bfloat16_case(width: int, *, models: int, images: int) -> Case:
    """Training steps of ResNet-18 in bfloat16 beside the same in float32."""
    options = {"side": 32, "models": models, "epochs": 1, "images": images, "family": "resnet18", "width": width}
    return Case(
        f"zoo, {models} ResNet-18-{width} 32 px, bfloat16 beside float32 (per model)",
        Arm("benchmarks.zoo:ours", options | {"bfloat16": True}),
        Arm("benchmarks.zoo:ours", options),
        units=models,
        rounds=3,
    )


def cases(device: str) -> Sequence[Case]:
    """Enough models to fill the machine; on a GPU a hundred, on a CPU a few."""
    if device == "cpu":
        return [case(32, models=4, epochs=2), case(84, models=2, epochs=1, images=1200)]
    return [case(32, models=100, epochs=3), case(84, models=100, epochs=2)]


def bfloat16_cases(device: str) -> Sequence[Case]:
    """ResNets of the width of `config/paper_cpu.yaml` and of the published one."""
    images = 640 if device == "cpu" else 2400
    return [bfloat16_case(width, models=2 if device == "cpu" else 16, images=images) for width in (16, 64)]


def _task(index: int, side: int, images: int, device: torch.device) -> ModelTask:
    draws = torch.Generator().manual_seed(index)

    def part(count: int) -> Part:
        pixels = torch.rand(count, 3, side, side, generator=draws)
        return Part(pixels.to(device), torch.randint(0, WAYS, (count,), generator=draws).to(device))

    # The plain arm measures on selection images only; one for ours to test on costs nothing.
    return ModelTask(part(images), part(images // 4), part(1))


def ours(
    *,
    device: torch.device,
    side: int,
    models: int,
    epochs: int,
    images: int,
    family: str = "conv4",
    width: int = WIDTH,
    bfloat16: bool = False,
) -> Callable[[], None]:
    """Dfml's training."""
    recipe = {"learning_rate": 0.01, "schedule": "multistep", "milestones": [70], "gamma": 0.2, "bfloat16": bfloat16}
    settings = ZooSettings.model_validate(
        {"epochs": epochs, "batch_size": 128, "augment": "none", "conv4": recipe, "resnet": recipe}
    )
    spec = NetworkSpec(family=family, width=width, ways=WAYS, side=side)
    half = torch.full((3,), 0.5, device=device)
    tasks = [_task(index, side, images, device) for index in range(min(models, 8))]

    def begin(index: int) -> tuple[ModelTraining, ModelTask, dict[str, Any]]:
        task = tasks[index % 8]
        one = ModelTraining(task.train, task.selection, spec, settings, mean=half, std=half / 2, seed=index)
        return one, task, {}

    def work() -> None:
        for _ in train_models(begin, range(models), device):
            pass

    return work


def reference(*, device: torch.device, side: int, models: int, epochs: int, images: int) -> Callable[[], None]:
    """One model after another."""
    tasks = [_task(index, side, images, device) for index in range(min(models, 8))]
    normal = [((t.train.images - 0.5) / 0.25, (t.selection.images - 0.5) / 0.25) for t in tasks]

    def work() -> None:
        for index in range(models):
            task, (train, test) = tasks[index % 8], normal[index % 8]
            labels = (task.train.labels, task.selection.labels)
            plain.train(train, labels[0], test, labels[1], width=WIDTH, ways=WAYS, epochs=epochs)

    return work


if __name__ == "__main__":
    run("Zoo training", cases)
