"""Uniting zoos, our own and imported ones: models in order, their classes numbered as one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfml.artefacts.imported_zoo import is_imported
from dfml.artefacts.zoo import MANIFEST
from dfml.errors import DfmlError
from dfml.settings import Access
from dfml.zoo.access import GradientsOnly, LogitsOnly
from dfml.zoo.imported.store import load_imported
from dfml.zoo.model import PoolModel
from dfml.zoo.resident import Resident
from dfml.zoo.store import load_zoo


def _everything(network: nn.Module) -> nn.Module:
    return network


_SEALS: Mapping[Access, Callable[[nn.Module], nn.Module | GradientsOnly]] = {
    "weights": _everything,
    "gradients": GradientsOnly,
    "logits": LogitsOnly,
}


class Union:
    """Several zoos as one, with one numbering of classes.

    Args:
        label_space: ``global`` or ``per_model``, see :class:`dfml.zoo.pool.Pool`.
        device: where the models shall be.
        access: what is given of each model.
    """

    def __init__(self, label_space: str, device: torch.device, access: Access) -> None:
        self.label_space, self.device, self.access = label_space, device, access
        self.models: list[PoolModel] = []
        self.names: list[str] = []
        self.domains: dict[str, tuple[Tensor, Tensor]] = {}
        self._resident = Resident()
        self._offsets: dict[str, tuple[int, list[str]]] = {}
        self._sides: dict[str, int] = {}
        self._ways: int | None = None

    def add(self, folder: Path) -> None:
        """Take up the models of one zoo.

        Raises:
            FileFormatError: the zoo is damaged.
            DataError: it is imported, and its card or the code beside it is not as it was.
            DfmlError: it differs in ways from those before it, or lists other classes or another side for a data set.
        """
        if is_imported(folder / MANIFEST):
            self._add_imported(folder)
        else:
            self._add_trained(folder)

    def _add_trained(self, folder: Path) -> None:
        manifest, networks = load_zoo(folder, self.device)
        ways = manifest.network.ways
        if self._ways not in (None, ways):
            raise DfmlError(
                f"{folder}: its models are {ways}-way, those before it {self._ways}-way; a pool needs one number of "
                "ways"
            )
        self._ways = ways
        if self._sides.setdefault(manifest.dataset, manifest.side) != manifest.side:
            raise DfmlError(
                f"{folder}: its models see {manifest.dataset} at {manifest.side} pixels, those before it at "
                f"{self._sides[manifest.dataset]}; train them on images of one side"
            )
        mean, std = self._tensor(manifest.mean), self._tensor(manifest.std)
        self.domains[manifest.dataset] = mean, std
        for place, entry in enumerate(manifest.models):
            own = [f"{manifest.architecture}/{entry.index}/{out}" for out in range(len(entry.classes))]
            ids = self._ids(folder, manifest.dataset, manifest.class_names, entry.classes, own)
            self._take(
                partial(networks.__getitem__, place),
                ids,
                spec=manifest.network,
                mean=mean,
                std=std,
                side=manifest.side,
                dataset=manifest.dataset,
                architecture=manifest.architecture,
                selection_accuracy=entry.selection_accuracy,
            )

    def _add_imported(self, folder: Path) -> None:
        manifest, networks = load_imported(folder, self.device)
        self.domains[manifest.name] = self._tensor(manifest.mean), self._tensor(manifest.std)
        for place, entry in enumerate(manifest.models):
            own = [f"{entry.name}/{manifest.class_names[label]}" for label in entry.classes]
            self._take(
                partial(networks.__getitem__, place),
                self._ids(folder, manifest.name, manifest.class_names, entry.classes, own),
                spec=None,
                mean=self._tensor(entry.mean),
                std=self._tensor(entry.std),
                side=entry.side,
                dataset=manifest.name,
                architecture=entry.name,
                selection_accuracy=entry.accuracy or 0.0,
                features=manifest.features_of(entry),
                answers_only=entry.kind == "function",
            )

    def _tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=self.device)

    def _ids(
        self, folder: Path, dataset: str, class_names: list[str], classes: Sequence[int], own: Sequence[str]
    ) -> list[int]:
        """Pool-wide ids of a model's outputs; ``own`` is what they are called where each is a class of its own."""
        if self.label_space == "per_model":
            first = len(self.names)
            self.names += [f"{dataset}/{name}" for name in own]
            return list(range(first, len(self.names)))
        if dataset not in self._offsets:
            self._offsets[dataset] = (len(self.names), class_names)
            self.names += [f"{dataset}/{name}" for name in class_names]
        offset, known = self._offsets[dataset]
        if known != class_names:
            raise DfmlError(f"{folder}: its list of {dataset} classes differs from another zoo's")
        return [offset + c for c in classes]

    def _take(self, load: Callable[[], nn.Module], ids: Sequence[int], **facts: Any) -> None:
        classes = torch.tensor(ids, device=self.device)
        seal = _SEALS["logits" if facts.get("answers_only") else self.access]
        source = self._resident.source(lambda: seal(load()))
        self.models.append(PoolModel(index=len(self.models), source=source, classes=classes, **facts))
