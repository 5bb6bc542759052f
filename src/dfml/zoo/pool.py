"""A pool: the union of zoos that a method is given, and how models are drawn from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import DfmlError
from dfml.imaging.pixels import normalise, resized
from dfml.networks.classifier import Classifier
from dfml.settings import Access
from dfml.zoo.access import AccessError, GradientsOnly, LogitsOnly
from dfml.zoo.store import load_zoo


@dataclass(frozen=True)
class PoolModel:
    """One frozen classifier of a pool.

    ``classes`` are the pool-wide ids of its outputs in order, ``[ways]``; ``mean`` and ``std`` have shape ``[3]``.
    ``network`` is the module itself or as much of it as the pool gives (:mod:`dfml.zoo.access`). ``selection_accuracy``
    is what models may be chosen by, in percent; their own accuracy, for tables, is measured on images that choose
    nothing, and so is not here.
    """

    index: int
    network: Classifier | GradientsOnly
    spec: NetworkSpec
    classes: Tensor
    mean: Tensor
    std: Tensor
    side: int
    dataset: str
    architecture: str
    selection_accuracy: float

    @property
    def module(self) -> Classifier:
        """The network with its weights; raises AccessError where the pool does not give them."""
        if isinstance(self.network, GradientsOnly):
            raise AccessError("this model does not give its weights (`pools.*.access`)")
        return self.network

    @cached_property
    def class_ids(self) -> tuple[int, ...]:
        """``classes`` as plain numbers, which nobody has to fetch from the device."""
        return tuple(self.classes.tolist())

    def inputs(self, images: Tensor) -> Tensor:
        """Images in [0, 1] of any side as this model was trained to see them: of its own side, normalised."""
        return normalise(resized(images, self.side), self.mean, self.std)

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``[B, ways]`` of images ``[B, 3, any, any]`` in [0, 1]."""
        return self.network(self.inputs(images))


class Pool(Sequence[PoolModel]):
    """All models of several zoos, with one numbering of classes.

    With ``label_space="global"`` models that share a class of a data set share its id; with ``"per_model"`` every
    output of every model is a class of its own (F16).
    """

    def __init__(self, models: Sequence[PoolModel], class_names: Sequence[str], ways: int) -> None:
        self.models = list(models)
        self.class_names = list(class_names)
        self.ways = ways
        self.sides = sorted({model.side for model in self.models})
        # Every class belongs to one data set, and so has one normalisation and one side.
        self._home: dict[int, PoolModel] = {c: model for model in self.models for c in model.class_ids}
        self._groups: dict[str, dict[str, list[int]]] = {}
        for model in self.models:
            self._groups.setdefault(model.dataset, {}).setdefault(model.architecture, []).append(model.index)

    @classmethod
    def load(
        cls, folders: Sequence[Path], *, label_space: str, device: torch.device, access: Access = "weights"
    ) -> "Pool":
        """Unite the zoos in ``folders``; ``access`` is what is given of each model.

        Raises:
            FileFormatError: a zoo is damaged.
            DfmlError: the zoos differ in ways, or list different classes or another side for one data set.
        """
        seal = {"weights": lambda network: network, "gradients": GradientsOnly, "logits": LogitsOnly}[access]
        models: list[PoolModel] = []
        names: list[str] = []
        offsets: dict[str, tuple[int, list[str]]] = {}
        ways: int | None = None
        sides: dict[str, int] = {}
        for folder in folders:
            manifest, networks = load_zoo(folder, device)
            if ways is not None and manifest.network.ways != ways:
                raise DfmlError(
                    f"{folder}: its models are {manifest.network.ways}-way, those before it {ways}-way; "
                    "a pool needs one number of ways"
                )
            ways = manifest.network.ways
            if sides.setdefault(manifest.dataset, manifest.side) != manifest.side:
                raise DfmlError(
                    f"{folder}: its models see {manifest.dataset} at {manifest.side} pixels, those before it at "
                    f"{sides[manifest.dataset]}; train them on images of one side"
                )
            if label_space == "global" and manifest.dataset not in offsets:
                offsets[manifest.dataset] = (len(names), manifest.class_names)
                names += [f"{manifest.dataset}/{name}" for name in manifest.class_names]
            if label_space == "global" and offsets[manifest.dataset][1] != manifest.class_names:
                raise DfmlError(f"{folder}: its list of {manifest.dataset} classes differs from another zoo's")
            mean, std = torch.tensor(manifest.mean, device=device), torch.tensor(manifest.std, device=device)
            for entry, network in zip(manifest.models, networks, strict=True):
                if label_space == "global":
                    ids = [offsets[manifest.dataset][0] + c for c in entry.classes]
                else:
                    ids = list(range(len(names), len(names) + len(entry.classes)))
                    names += [
                        f"{manifest.dataset}/{manifest.architecture}/{entry.index}/{out}" for out in range(len(ids))
                    ]
                models.append(
                    PoolModel(
                        index=len(models),
                        network=seal(network),
                        spec=manifest.network,
                        classes=torch.tensor(ids, device=device),
                        mean=mean,
                        std=std,
                        side=manifest.side,
                        dataset=manifest.dataset,
                        architecture=manifest.architecture,
                        selection_accuracy=entry.selection_accuracy,
                    )
                )
        if ways is None:
            raise DfmlError("a pool needs at least one zoo")
        return cls(models, names, ways)

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, index):  # noqa: ANN001, ANN204 - Sequence's overloads
        return self.models[index]

    @property
    def side(self) -> int | None:
        """The side of all models' images; None where they differ, and a learner has to take any resolution."""
        return self.sides[0] if len(self.sides) == 1 else None

    @property
    def canvas(self) -> int:
        """The side at which images are recovered: the largest; each model sees them at its own (F18)."""
        return self.sides[-1]

    def side_of(self, label: int) -> int:
        """The side at which the data set of class ``label`` comes."""
        return self._home[label].side

    def dataset_of(self, label: int) -> str:
        """The data set that class ``label`` is of."""
        return self._home[label].dataset

    @cached_property
    def class_normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every class's data set, ``[classes, 3]`` each (F19)."""
        homes = [self._home.get(label, self.models[0]) for label in range(len(self.class_names))]
        return torch.stack([m.mean for m in homes]), torch.stack([m.std for m in homes])

    @property
    def domains(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation ``[3]`` of each data set by its name."""
        return {model.dataset: (model.mean, model.std) for model in self.models}

    @property
    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``[3]`` for a learner of the whole pool: the average over its data sets."""
        one_each = {model.dataset: model for model in self.models}.values()
        return torch.stack([m.mean for m in one_each]).mean(0), torch.stack([m.std for m in one_each]).mean(0)

    def best(self, count: int) -> list[PoolModel]:
        """The ``count`` models of highest accuracy on their selection images, best first; ties by index.

        Accuracies compare within one data set only, an easy one would take every place: the best model of each data
        set comes first, in the pool's order of data sets, then the second best of each, and so on.
        """
        ranks: dict[int, int] = {}
        for dataset in self._groups:
            own = [model for model in self.models if model.dataset == dataset]
            own.sort(key=lambda m: (-m.selection_accuracy, m.index))
            ranks.update({model.index: rank for rank, model in enumerate(own)})
        order = {dataset: place for place, dataset in enumerate(self._groups)}
        return sorted(self.models, key=lambda m: (ranks[m.index], order[m.dataset]))[:count]

    def sample(self, count: int, rng: np.random.Generator, *, hetero: str = "per_model") -> list[PoolModel]:
        """Draw models with replacement: a data set, an architecture, a model, each evenly (docs/method.md §2.4, F06).

        ``hetero="shared_last"`` reproduces the published multi-architecture bug: one architecture per call, and all
        entries carry the network of the last draw while their class lists differ. It is the same as ``"per_model"``
        on a pool of one architecture.
        """
        fixed = None
        mixed = any(len(architectures) > 1 for architectures in self._groups.values())
        if hetero == "shared_last" and mixed:
            fixed = rng.choice(sorted({m.architecture for m in self.models}))
        chosen = []
        for _ in range(count):
            dataset = self._groups[rng.choice(sorted(self._groups))]
            architecture = fixed if fixed in dataset else rng.choice(sorted(dataset))
            chosen.append(self.models[rng.choice(dataset[architecture])])
        if fixed is not None:
            last = chosen[-1]
            shared = {"network": last.network, "spec": last.spec, "architecture": last.architecture}
            chosen = [replace(model, **shared) for model in chosen]
        return chosen

    def walk(self, rng: np.random.Generator) -> np.ndarray:
        """All model indices in a random order in which every data set and architecture comes up evenly, ``[models]``.

        Each model gets its place within its own group, spread over [0, 1); a short group is thus spread as evenly as a
        long one, and every model comes up exactly once.
        """
        places = np.empty(len(self.models))
        for dataset in sorted(self._groups):
            for architecture in sorted(self._groups[dataset]):
                own = rng.permutation(self._groups[dataset][architecture])
                places[own] = (np.arange(len(own)) + rng.random(len(own))) / len(own)
        return np.argsort(places, kind="stable")
