"""The `train_zoo` stage: many small classifiers of random tasks (docs/method.md §2.3)."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from dfml.errors import DataError, DfmlError, FileFormatError
from dfml.files.reading import digest_json, sha256_file
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.job import Job
from dfml.jobs.loop import Aside, Loop
from dfml.networks.custom import describe
from dfml.networks.settings import NetworkSettings
from dfml.zoo.settings import ZooSettings, models_and_judges
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

    GROWS = ("entries",)  # the weights lie in files of their own: written with every model, they would add up

    def __init__(self) -> None:
        self.states: list[State] = []
        self.entries: list[dict[str, Any]] = []
        self.seconds = 0.0


class _Resume:
    """The resume file of models in training, and one for each that is done."""

    def __init__(self, path: Path, digest: str, count: int) -> None:
        files = [Checkpoint(path.with_suffix(f".model{number}{path.suffix}"), digest) for number in range(count)]
        self.checkpoint, self.models = Checkpoint(path, digest), Aside("a model", files)

    def remove(self) -> None:
        """Delete them, once the result is written."""
        self.checkpoint.remove()
        self.models.remove()


@dataclass(frozen=True)
class ZooOrder:
    """Which zoo is wanted: all that its models depend on beside the images.

    Attributes:
        dataset, architecture: their names in the configuration.
        network: the models' network.
        settings: how many they are, and how they are trained.
        ways: classes of a model.
        seed: of everything drawn.
        code: digest of the code at work: models that other code has trained are not taken up.
    """

    dataset: str
    architecture: str
    network: NetworkSettings
    settings: ZooSettings
    ways: int
    seed: int
    code: str

    @classmethod
    def of_job(cls, params: Any, wildcards: Any) -> "ZooOrder":
        """What a job of the workflow is told."""
        return cls(
            dataset=wildcards.dataset,
            architecture=wildcards.architecture,
            network=NetworkSettings.model_validate(params.network),
            settings=ZooSettings.model_validate(params.settings),
            ways=params.ways,
            seed=int(wildcards.seed),
            code=params.code,
        )

    def __str__(self) -> str:
        return f"zoo {self.dataset}/{self.architecture} seed {self.seed}"


class _Zoo:
    """An order with its images: its models come first, then its judges, and each is a position.

    Raises DataError where there are fewer classes than ways.
    """

    def __init__(self, order: ZooOrder, images: Path, device: torch.device) -> None:
        self.order, self.device, self.data = order, device, load_images(images)
        known, settings = len(self.data.names), order.settings
        if known < order.ways:
            message = f"{order.dataset}: {known} meta-train classes cannot give {order.ways}-way tasks; lower `ways`"
            raise DataError(message)
        facts = ImagesManifest.load(images.parent / IMAGES)
        self.mean, self.std = facts.mean, facts.std
        self.spec = describe(order.network, ways=order.ways, side=self.data.side, stem_relu=settings.stem_relu)
        self.models, self.judges = models_and_judges(order.network, settings)
        made_of = [order.code, settings.model_dump(mode="json"), self.spec.model_dump(), order.dataset]
        self._made_of = [*made_of, order.architecture, self.models, order.seed, sha256_file(images)]
        self._normalisation = {
            "mean": torch.tensor(self.mean, device=device),
            "std": torch.tensor(self.std, device=device),
        }

    def digest(self, positions: range) -> str:
        """Of all that the models at ``positions`` depend on."""
        return digest_json([*self._made_of, positions.start, positions.stop])

    def _begin(self, position: int) -> tuple[ModelTraining, ModelTask, dict[str, Any]]:
        order, spec = self.order, self.spec
        role, index = ("zoo", position) if position < self.models else ("judge", position - self.models)
        model_seed = derive_seed(order.seed, "zoo", order.dataset, order.architecture, index)
        classes = numpy_rng(model_seed, "classes").permutation(len(self.data.names))[: spec.ways].tolist()
        task = make_task(self.data, classes, order.settings, self.device)
        own_seed = derive_seed(model_seed, role)
        training = ModelTraining(task.train, task.selection, spec, order.settings, **self._normalisation, seed=own_seed)
        return training, task, {"index": index, "classes": classes, "images": task.counts}

    def train(self, positions: range, resume: _Resume, job: Job) -> _Trained:
        """The models at ``positions``; those that an interruption left in ``resume`` are not trained again.

        Raises:
            DfmlError: a model diverged.
        """
        done, clock = _Trained(), WallClock()
        done.states = resume.models.held
        whole = len(positions) == self.models + self.judges

        def steps(first: int) -> Iterator[dict[str, float]]:
            for state, entry in train_models(self._begin, positions[first:], self.device):
                if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
                    raise DfmlError(self._diverged(entry["index"]))
                done.states.append(state)
                done.entries.append(entry)
                yield {"accuracy": entry["accuracy"]}

        Loop(
            name=str(self.order) if whole else f"{self.order} models {positions.start} to {positions.stop - 1}",
            total=len(positions),
            steps=steps,
            moves=done,
            clock=clock,
            checkpoint=resume.checkpoint,
            job=job,
            every=1,
            aside=resume.models,
        ).run()
        clock.settle()
        done.seconds = clock.total
        return done

    def _diverged(self, index: int) -> str:
        order = self.order
        recipe = order.settings.recipe_of(order.network.family)
        return (
            f"zoo {order.dataset}/{order.architecture} model {index} of seed {order.seed} diverged, its weights are "
            f"not finite after the last epoch; lower `zoo.{recipe}.learning_rate` "
            f"({getattr(order.settings, recipe).learning_rate:g})"
        )

    def read(self, parts: Sequence[tuple[range, Path]]) -> _Trained:
        """The models that other jobs have trained, put together."""
        done = _Trained()
        for positions, path in parts:
            state = Checkpoint(path, self.digest(positions)).load()
            if state is None:
                raise FileFormatError(
                    f"{path} is damaged, or does not hold the models {positions.start} to {positions.stop - 1} of this "
                    "zoo; delete it and run the rule train_zoo_part again"
                )
            done.states += state["states"]
            done.entries += state["entries"]
            done.seconds += state["seconds"]
        return done


def train_zoo(
    order: ZooOrder,
    images: Path,
    folder: Path,
    *,
    resume: Path,
    job: Job,
    parts: Sequence[tuple[range, Path]] = (),
) -> None:
    """Train a zoo from prepared meta-train images and write it into ``folder``.

    Each model draws its classes, weights and batches from its own seed, so finished models survive an interruption
    and the zoo does not depend on where it was interrupted. ``parts`` are files of :func:`train_part` that hold all
    models; then nothing is trained here.

    Raises:
        DataError: fewer classes than ways, or a class with too few images.
        DfmlError: a model diverged.
        FileFormatError: a part is damaged, or of another zoo.
    """
    zoo = _Zoo(order, images, job.device)
    every, count = range(zoo.models + zoo.judges), zoo.models
    left = _Resume(resume, zoo.digest(every), len(every))
    done = zoo.read(parts) if parts else zoo.train(every, left, job)
    digest = save_weights(folder / WEIGHTS, done.states[:count])
    judges_digest = save_weights(folder / JUDGES, done.states[count:]) if zoo.judges else None
    # After the weights, so that a manifest means a complete zoo.
    ZooManifest(
        dataset=order.dataset,
        architecture=order.architecture,
        network=zoo.spec,
        seed=order.seed,
        side=zoo.data.side,
        mean=zoo.mean,
        std=zoo.std,
        class_names=list(zoo.data.names),
        models=[ModelEntry(**entry) for entry in done.entries[:count]],
        weights_sha256=digest,
        judges=[ModelEntry(**entry) for entry in done.entries[count:]],
        judges_sha256=judges_digest,
        seconds=done.seconds,
        provenance=job.provenance(),
    ).save(folder / MANIFEST)
    job.when_recorded(left.remove)


def train_part(order: ZooOrder, images: Path, output: Path, positions: range, *, resume: Path, job: Job) -> None:
    """Train the models at ``positions`` and leave them in the file ``output`` for :func:`train_zoo`.

    Raises:
        DataError, DfmlError: as there.
    """
    zoo = _Zoo(order, images, job.device)
    left = _Resume(resume, zoo.digest(positions), len(positions))
    done = zoo.train(positions, left, job)
    state = {"states": done.states, "entries": done.entries, "seconds": done.seconds}
    Checkpoint(output, zoo.digest(positions)).save(state)
    job.when_recorded(left.remove)
