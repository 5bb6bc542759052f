"""Training a zoo: many small classifiers of random tasks (docs/method.md §2.3)."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

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
from dfml.runtime.files import sha256_file
from dfml.runtime.job import Job
from dfml.runtime.optimisers import SGD, Adam, Optimiser
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


def training_count(count: int, fraction: float) -> int:
    """How many of a class's ``count`` images, the first ones, train: floor(fraction · count) (docs/method.md §2.3)."""
    return math.floor(fraction * count + 1e-9)


def make_task(images: ClassImages, classes: list[int], fraction: float, device: torch.device) -> Task:
    """Cut the images of ``classes`` into a training and a held-out part; labels are positions in ``classes``.

    Raises:
        DataError: a class has too few images for the cut.
    """
    parts: tuple[list[Tensor], ...] = ([], [], [], [])
    for label, c in enumerate(classes):
        own = images.images[c]
        cut = training_count(len(own), fraction)
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


def _optimiser(network: nn.Module, settings: OptimiserSettings) -> Optimiser:
    groups, rates = [list(network.parameters())], [settings.learning_rate]
    if settings.optimiser == "adam":
        return Adam(groups, rates, weight_decay=settings.weight_decay)
    return SGD(groups, rates, momentum=settings.momentum, weight_decay=settings.weight_decay)


def learning_rate(settings: OptimiserSettings, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step, counted from 0.

    ``one_cycle`` rises from 1/25 of the peak to the peak over the first 30 % of training and falls to almost nothing,
    both by half a cosine (Smith and Topin, 2018); ``multistep`` multiplies by ``gamma`` at each milestone epoch.
    """
    if settings.schedule == "multistep":
        passed = sum(step >= milestone * steps_per_epoch for milestone in settings.milestones)
        return settings.learning_rate * settings.gamma**passed
    start, end = settings.learning_rate / 25, settings.learning_rate / 25e4
    last, peak = max(1, epochs * steps_per_epoch - 1), 0.3 * max(1, epochs * steps_per_epoch - 1)
    if step < peak:
        low, high, done = start, settings.learning_rate, step / peak
    else:
        low, high, done = settings.learning_rate, end, (step - peak) / (last - peak)
    return low + (high - low) * (1 - math.cos(math.pi * done)) / 2


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
    optimiser = _optimiser(network, recipe)
    held_out = normalise(task.test_images, mean, std).contiguous(memory_format=torch.channels_last)

    best: dict[str, float | int] = {"accuracy_best": -1.0, "epoch_best": 0}
    state: State = {}
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(task.train_labels), generator=draws, device=device)
        for index, batch in enumerate(order[: steps * settings.batch_size].chunk(steps)):
            images = task.train_images[batch]
            if settings.augment != "none":
                flip = settings.augment == "crop_flip"
                images = random_crop_flip(images, padding=CROP_PADDING, flip=flip, per_sample=True, generator=draws)
            images = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(images), task.train_labels[batch])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            done = (epoch - 1) * steps + index
            optimiser.set_rate(learning_rate(recipe, done, steps_per_epoch=steps, epochs=settings.epochs))
            optimiser.step()
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
    made_of = [settings.model_dump(mode="json"), spec.model_dump(), dataset, architecture, count, seed]
    checkpoint = Checkpoint(resume, digest_json([*made_of, sha256_file(images)]))
    done = checkpoint.load() or {"states": [], "entries": [], "seconds": 0.0}
    states, entries = done["states"], done["entries"]
    start -= done["seconds"]
    device_mean, device_std = torch.tensor(mean, device=job.device), torch.tensor(std, device=job.device)
    with job.progress.task(f"zoo {dataset}/{architecture} seed {seed}", total=count + judges, done=len(entries)) as bar:
        for position in range(len(entries), count + judges):
            role, index = ("zoo", position) if position < count else ("judge", position - count)
            model_seed = derive_seed(seed, "zoo", dataset, architecture, index)
            classes = numpy_rng(model_seed, "classes").permutation(len(data.names))[:ways].tolist()
            task = make_task(data, classes, settings.train_fraction, job.device)
            own_seed = derive_seed(model_seed, role)
            state, scores = train_model(task, spec, settings, mean=device_mean, std=device_std, seed=own_seed)
            states.append(state)
            entries.append({"index": index, "classes": classes, **scores})
            checkpoint.save({"states": states, "entries": entries, "seconds": time.perf_counter() - start})
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
