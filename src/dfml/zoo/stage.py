"""The `train_zoo` stage: many small classifiers of random tasks (docs/method.md §2.3)."""

import gc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dfml.artefacts.images import MANIFEST as IMAGES
from dfml.artefacts.images import ImagesManifest
from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS, ModelEntry, ZooManifest
from dfml.compute.seeds import derive_seed, numpy_rng
from dfml.compute.timeline import WallClock
from dfml.compute.workers import side_by_side
from dfml.data.images import load_images
from dfml.errors import DataError, DfmlError
from dfml.files.reading import digest_json, sha256_file
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.jobs.loop import Loop
from dfml.networks.custom import describe
from dfml.networks.settings import NetworkSettings
from dfml.zoo.settings import ZooSettings
from dfml.zoo.store import State, save_weights
from dfml.zoo.training import ModelTask, ModelTraining, make_task, train_together

# Models whose steps overlap on one GPU.
AT_ONCE_ON_GPU = 8


def train_models(
    begin: Callable[[int], tuple[ModelTraining, ModelTask, dict[str, Any]]],
    positions: Sequence[int],
    device: torch.device,
) -> Iterator[tuple[State, dict[str, Any]]]:
    """Train the models at ``positions``, in order: on a GPU several at once, on a CPU one on each thread.

    ``begin`` makes a model's training, its task and the facts that its entry starts with. Its own accuracy is measured
    when everything about the model is settled.

    Yields:
        The stored weights and the entry of each model.
    """

    def train(group: Sequence[int]) -> list[tuple[State, dict[str, Any]]]:
        begun = [begin(position) for position in group]
        train_together([training for training, *_ in begun])
        finished = []
        for training, task, facts in begun:
            state, scores = training.result()
            finished.append((state, {**facts, **scores, "accuracy": training.own_accuracy(task.test)}))
        if device.type == "cuda":
            # A training and its recorded steps refer to each other; their memory is for the next group.
            del begun, training, task
            gc.collect()
        return finished

    size = AT_ONCE_ON_GPU if device.type == "cuda" else 1
    groups = [positions[i : i + size] for i in range(0, len(positions), size)]
    for models in map(train, groups) if device.type == "cuda" else side_by_side(train, groups):
        yield from models


class _Trained:
    """The models that are done: their stored weights, and their entries."""

    GROWS = ("states", "entries")

    def __init__(self) -> None:
        self.states: list[State] = []
        self.entries: list[dict[str, Any]] = []


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
    code: str,
    resume: Path,
    job: Job,
) -> None:
    """Train a zoo from prepared meta-train images and write it into ``folder``.

    Each model draws its classes, weights and batches from its own seed, so finished models survive an interruption
    and the zoo does not depend on where it was interrupted. ``code`` is the digest of the code at work: models that
    other code has trained are not taken up.

    Raises:
        DataError: fewer classes than ways, or a class with too few images.
        DfmlError: a model diverged.
    """
    clock = WallClock()
    data = load_images(images)
    if len(data.names) < ways:
        raise DataError(f"{dataset}: {len(data.names)} meta-train classes cannot give {ways}-way tasks; lower `ways`")
    facts = ImagesManifest.load(images.parent / IMAGES)
    mean, std = facts.mean, facts.std
    spec = describe(network, ways=ways, side=data.side, stem_relu=settings.stem_relu)
    count = network.models or settings.models
    judges = min(settings.judges, count)
    made_of = [code, settings.model_dump(mode="json"), spec.model_dump(), dataset, architecture, count, seed]
    checkpoint = Checkpoint(resume, digest_json([*made_of, sha256_file(images)]))
    done = _Trained()
    device_mean, device_std = torch.tensor(mean, device=job.device), torch.tensor(std, device=job.device)

    def begin(position: int) -> tuple[ModelTraining, ModelTask, dict[str, Any]]:
        role, index = ("zoo", position) if position < count else ("judge", position - count)
        model_seed = derive_seed(seed, "zoo", dataset, architecture, index)
        classes = numpy_rng(model_seed, "classes").permutation(len(data.names))[:ways].tolist()
        task = make_task(data, classes, settings, job.device)
        own_seed = derive_seed(model_seed, role)
        training = ModelTraining(
            task.train, task.selection, spec, settings, mean=device_mean, std=device_std, seed=own_seed
        )
        return training, task, {"index": index, "classes": classes, "images": task.counts}

    def steps(first: int) -> Iterator[dict[str, float]]:
        for state, entry in train_models(begin, range(first, count + judges), job.device):
            if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
                recipe = settings.recipe_of(network.family)
                rate = getattr(settings, recipe).learning_rate
                raise DfmlError(
                    f"zoo {dataset}/{architecture} model {entry['index']} of seed {seed} diverged, its weights are not "
                    f"finite after the last epoch; lower `zoo.{recipe}.learning_rate` ({rate:g})"
                )
            done.states.append(state)
            done.entries.append(entry)
            yield {"accuracy": entry["accuracy"]}

    Loop(
        name=f"zoo {dataset}/{architecture} seed {seed}",
        total=count + judges,
        steps=steps,
        moves=done,
        clock=clock,
        checkpoint=checkpoint,
        job=job,
        every=1,
    ).run()
    states, entries = done.states, done.entries
    digest = save_weights(folder / WEIGHTS, states[:count])
    judges_digest = save_weights(folder / JUDGES, states[count:]) if judges else None
    clock.settle()
    # After the weights, so that a manifest means a complete zoo.
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
        seconds=clock.total,
        provenance=job.provenance(),
    ).save(folder / MANIFEST)
    checkpoint.remove()
