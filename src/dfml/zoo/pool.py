"""A pool: the union of zoos that a method is given, and how models are drawn from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfml.errors import DfmlError
from dfml.settings import Access
from dfml.zoo.model import PoolModel
from dfml.zoo.union import Union


class Pool(Sequence[PoolModel]):
    """All models of several zoos, with one numbering of classes.

    ``invertible`` are those that images can be recovered from, all but services; models are drawn among these.

    With ``label_space="global"`` models that share a class of a data set share its id; with ``"per_model"`` every
    output of every model is a class of its own (F16). A zoo from elsewhere counts as a data set of its name.

    Args:
        models: in order.
        class_names: by pool-wide id.
        domains: mean and standard deviation ``[3]`` of each data set, as a learner sees its images; by default those
            of its models.
    """

    def __init__(
        self,
        models: Sequence[PoolModel],
        class_names: Sequence[str],
        domains: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.models = list(models)
        self.class_names = list(class_names)
        self.domains = dict(domains or {model.dataset: (model.mean, model.std) for model in models})
        self.sides = sorted({model.side for model in self.models})
        self._side: dict[str, int] = {}
        for model in self.models:
            self._side[model.dataset] = max(model.side, self._side.get(model.dataset, 0))
        self._home = {c: model.dataset for model in self.models for c in model.class_ids}
        self.invertible = [model for model in self.models if not model.answers_only]
        self._groups: dict[str, dict[str, list[int]]] = {}
        for model in self.invertible:
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
        union = Union(label_space, device, access)
        for folder in folders:
            union.add(folder)
        if not union.models:
            raise DfmlError("a pool needs at least one zoo")
        return cls(union.models, union.names, union.domains)

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
        return self._side[self._home[label]]

    def dataset_of(self, label: int) -> str:
        """The data set that class ``label`` is of."""
        return self._home[label]

    @cached_property
    def class_normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every class's data set, ``[classes, 3]`` each (F19)."""
        first = self.models[0].dataset
        homes = [self.domains[self._home.get(label, first)] for label in range(len(self.class_names))]
        return torch.stack([mean for mean, _ in homes]), torch.stack([std for _, std in homes])

    @property
    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``[3]`` for a learner of the whole pool: the average over its data sets."""
        means, stds = zip(*self.domains.values(), strict=True)
        return torch.stack(means).mean(0), torch.stack(stds).mean(0)

    @property
    def ways(self) -> int:
        """Classes of the model that has most."""
        return max(len(model.class_ids) for model in self.models)

    def best(self, count: int) -> list[PoolModel]:
        """The ``count`` models of highest accuracy on their selection images, best first; ties by index.

        Accuracies compare within one data set only, an easy one would take every place: the best model of each data
        set comes first, in the pool's order of data sets, then the second best of each, and so on.
        """
        ranks: dict[int, int] = {}
        order = {dataset: place for place, dataset in enumerate(dict.fromkeys(m.dataset for m in self.models))}
        for dataset in order:
            own = [model for model in self.models if model.dataset == dataset]
            own.sort(key=lambda m: (-m.selection_accuracy, m.index))
            ranks.update({model.index: rank for rank, model in enumerate(own)})
        return sorted(self.models, key=lambda m: (ranks[m.index], order[m.dataset]))[:count]

    def sample(self, count: int, rng: np.random.Generator, *, hetero: str = "per_model") -> list[PoolModel]:
        """Draw models with replacement: a data set, an architecture, a model, each evenly (docs/method.md §2.4, F06).

        ``hetero="shared_last"`` reproduces the published multi-architecture bug: one architecture per call, and all
        entries carry the network of the last draw while their class lists differ, but for those of another side or
        number of classes than the last. It is the same as ``"per_model"`` on a pool of one architecture.
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
            shared = {"source": last.source, "spec": last.spec, "architecture": last.architecture}
            form = (last.side, len(last.class_ids))
            chosen = [_in_the_form_of(m, shared) if (m.side, len(m.class_ids)) == form else m for m in chosen]
        return chosen

    def walk(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of all models to invert, in a random order in which data sets and architectures come up evenly.

        Each model gets its place within its own group, spread over [0, 1); a short group is thus spread as evenly as a
        long one, and every model comes up exactly once.
        """
        places = np.full(len(self.models), np.inf)
        for dataset in sorted(self._groups):
            for architecture in sorted(self._groups[dataset]):
                own = rng.permutation(self._groups[dataset][architecture])
                places[own] = (np.arange(len(own)) + rng.random(len(own))) / len(own)
        return np.argsort(places, kind="stable")[: len(self.invertible)]


def _in_the_form_of(model: PoolModel, shared: Mapping[str, Any]) -> PoolModel:
    """The same model with another's network and weights; its numbers of classes are not fetched again."""
    made = replace(model, **shared)
    vars(made)["class_ids"] = model.class_ids  # where the cached property keeps them
    return made
