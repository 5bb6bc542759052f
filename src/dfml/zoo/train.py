"""Training a zoo: many small classifiers of random tasks (free.md §4)."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfml.config.data import NetworkSettings
from dfml.config.zoo import OptimiserSettings, ZooSettings
from dfml.data.augment import normalise, random_crop_flip
from dfml.data.images import ClassImages, load_images, load_manifest
from dfml.errors import DataError
from dfml.networks.build import NetworkSpec, build_network
from dfml.runtime.checkpoint import Checkpoint
from dfml.runtime.digests import digest_json
from dfml.runtime.job import Job
from dfml.runtime.seeds import derive_seed, numpy_rng, torch_generator
from dfml.zoo.manifest import JUDGES, WEIGHTS, ModelEntry, ZooManifest
from dfml.zoo.store import State, save_manifest, save_weights

CROP_PADDING = 2


@dataclass(frozen=True)
class Task:
    """Images of one model's classes on the device: float in [0, 1] ``[N, 3, side, side]``, labels ``[N]``."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def split_indices(count: int, fraction: float) -> int:
    """How many of a class's ``count`` images (its first ones) train the model: floor(fraction · count) (free.md §2.3)."""
    return int(np.floor(fraction * count + 1e-9))


def make_task(images: ClassImages, classes: list[int], fraction: float, device: torch.device) -> Task:
    """Cut the images of ``classes`` into a training and a held-out part; labels are positions in ``classes``.

    Raises:
        DataError: a class has too few images for the cut.
    """
    parts: tuple[list[Tensor], ...] = ([], [], [], [])
    for label, c in enumerate(classes):
        own = images.images[c]
        cut = split_indices(len(own), fraction)
        if cut == 0 or cut == len(own):
            raise DataError(
                f"{images.dataset}: class {images.names[c]!r} has {len(own)} images, too few to train on "
                f"{fraction:.0%} and test on the rest; add images or change `zoo.train_fraction`"
            )
        for index, piece in ((0, own[:cut]), (2, own[cut:])):
            parts[index].append(piece)
            parts[index + 1].append(torch.full((len(piece),), label))
    train_x, train_y, test_x, test_y = (torch.cat(p) for p in parts)
    return Task(_to_float(train_x, device), train_y.to(device), _to_float(test_x, device), test_y.to(device))


def _to_float(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float().div_(255)


def _optimiser(
    network: nn.Module, settings: OptimiserSettings, epochs: int, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    parameters = list(network.parameters())
    if settings.optimiser == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
    else:
        optimiser = torch.optim.SGD(
            parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    if settings.schedule == "one_cycle":
        cycle_momentum = settings.optimiser == "sgd" and settings.momentum > 0
        return optimiser, torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=epochs * steps + 1, cycle_momentum=cycle_momentum
        )
    milestones = [m * steps for m in settings.milestones]
    return optimiser, torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, settings.gamma)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of ``images`` (normalised) whose largest logit is their label, in evaluation mode."""
    was_training = network.training
    network.eval()
    right = (network(images).argmax(1) == labels).float().mean().item()
    network.train(was_training)
    return 100 * right


def train_model(
    task: Task,
    spec: NetworkSpec,
    settings: ZooSettings,
    *,
    mean: Tensor,
    std: Tensor,
    seed: int,
) -> tuple[State, dict[str, float | int]]:
    """Train one classifier and return its stored weights and accuracies.

    ``mean`` and ``std`` have shape ``[3]``. The state is a copy, so later steps cannot change it (F12).
    """
    device = task.train_images.device
    network = build_network(spec, generator=torch_generator(seed, "weights"))
    network.to(device, memory_format=torch.channels_last).train()
    draws = torch_generator(seed, "batches", device=device)
    steps = max(1, len(task.train_labels) // settings.batch_size)
    recipe = settings.conv4 if spec.family == "conv4" else settings.resnet
    optimiser, schedule = _optimiser(network, recipe, settings.epochs, steps)
    held_out = normalise(task.test_images, mean, std).contiguous(memory_format=torch.channels_last)

    best: dict[str, float | int] = {"accuracy_best": -1.0, "epoch_best": 0}
    state: State = {}
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(task.train_labels), generator=draws, device=device)
        for batch in order[: steps * settings.batch_size].chunk(steps):
            images = task.train_images[batch]
            if settings.augment != "none":
                flip = settings.augment == "crop_flip"
                images = random_crop_flip(images, padding=CROP_PADDING, flip=flip, per_sample=True, generator=draws)
            images = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(images), task.train_labels[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimiser.step()
            schedule.step()
        current = accuracy(network, held_out, task.test_labels)
        improved = current > best["accuracy_best"]
        if improved:
            best = {"accuracy_best": current, "epoch_best": epoch}
        if improved if settings.checkpoint == "best" else epoch == settings.epochs:
            state = {name: t.detach().cpu().clone().contiguous() for name, t in network.state_dict().items()}
    stored = best["accuracy_best"] if settings.checkpoint == "best" else current
    return state, {**best, "accuracy_last": current, "accuracy_stored": stored}


def train_zoo(
    images: Path,
    folder: Path,
    *,
    dataset: str,
    architecture: str,
    network: NetworkSettings,
    settings: ZooSettings,
    ways: int,
    seed: int,
    resume: Path,
    job: Job,
) -> None:
    """Train a zoo from prepared meta-train images and write it into ``folder``.

    Each model draws its classes, weights and batches from its own seed, so finished models survive an interruption
    and the zoo does not depend on where it was interrupted.

    Raises:
        DataError: fewer classes than ways, or a class with too few images.
    """
    start = time.perf_counter()
    data = load_images(images)
    if len(data.names) < ways:
        raise DataError(f"{dataset}: {len(data.names)} meta-train classes cannot give {ways}-way tasks; lower `ways`")
    facts = load_manifest(images.parent)
    mean, std = facts["mean"], facts["std"]
    spec = NetworkSpec(
        family=network.family, width=network.width, ways=ways, side=data.side, stem_relu=settings.stem_relu
    )
    count = network.models or settings.models
    judges = min(settings.judges, count)
    checkpoint = Checkpoint(
        resume, digest_json([settings.model_dump(mode="json"), spec.model_dump(), dataset, architecture, count, seed])
    )
    done = checkpoint.load() or {"states": [], "entries": []}
    states, entries = done["states"], done["entries"]
    device_mean, device_std = torch.tensor(mean, device=job.device), torch.tensor(std, device=job.device)
    with job.progress.task(
        f"zoo {dataset}/{architecture} seed {seed}", total=count + judges, done=len(entries)
    ) as bar:
        for position in range(len(entries), count + judges):
            role, index = ("zoo", position) if position < count else ("judge", position - count)
            model_seed = derive_seed(seed, "zoo", dataset, architecture, index)
            classes = numpy_rng(model_seed, "classes").permutation(len(data.names))[:ways].tolist()
            task = make_task(data, classes, settings.train_fraction, job.device)
            own_seed = derive_seed(model_seed, role)
            state, scores = train_model(task, spec, settings, mean=device_mean, std=device_std, seed=own_seed)
            states.append(state)
            entries.append({"index": index, "classes": classes, **scores})
            checkpoint.save({"states": states, "entries": entries})
            bar.advance(accuracy=scores["accuracy_stored"])
    digest = save_weights(folder / WEIGHTS, states[:count])
    judges_digest = save_weights(folder / JUDGES, states[count:]) if judges else None
    save_manifest(
        folder,
        ZooManifest(
            dataset=dataset,
            architecture=architecture,
            network=spec,
            seed=seed,
            side=data.side,
            mean=mean,
            std=std,
            class_names=list(data.names),
            models=[ModelEntry(**entry) for entry in entries[:count]],
            weights_sha256=digest,
            judges=[ModelEntry(**entry) for entry in entries[count:]],
            judges_sha256=judges_digest,
            seconds=time.perf_counter() - start,
            provenance=job.provenance(),
        ),
    )
    checkpoint.remove()
