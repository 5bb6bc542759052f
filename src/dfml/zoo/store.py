"""Zoos on the shelf: weights of all models stacked in one safetensors file, facts in a manifest."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS, NetworkSpec, ZooManifest
from dfml.compute.placement import to_device
from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.reading import sha256_file
from dfml.files.tensors import layout_of, read_tensors
from dfml.networks.build import build_network, outline
from dfml.networks.classifier import Classifier
from dfml.zoo.resident import OnDisk

State = dict[str, Tensor]

# Models whose weights are in memory at a time while a file is checked.
CHECKED_TOGETHER = 256


def save_weights(path: Path, states: Sequence[State]) -> str:
    """Stack state dicts of one architecture over models, write them, and return the file's sha256."""
    stacked = {name: torch.stack([s[name] for s in states]).contiguous() for name in states[0]}
    atomic_write(path, lambda partial: save_file(stacked, partial))
    return sha256_file(path)


def load_weights(path: Path, spec: NetworkSpec, models: int) -> Sequence[State]:
    """The state dicts of ``models`` networks, each read when it is taken out; the whole file is checked first.

    The tensors are views of the file, in memory as long as one of them is.

    Raises:
        FileFormatError: the file is missing, truncated, or its tensors are not those of ``spec``, or not finite.
    """
    layout = layout_of(outline(spec).state_dict(), copies=models)

    def read(rows: int | slice) -> State:
        what = f"a {spec.family} of width {spec.width}"
        return read_tensors(path, layout, what=what, remedy="train this zoo again", rows=rows)

    for first in range(0, models, CHECKED_TOGETHER):
        read(slice(first, first + CHECKED_TOGETHER))
    return OnDisk(models, read)


def load_zoo(folder: Path, device: torch.device) -> tuple[ZooManifest, Sequence[Classifier]]:
    """Read a zoo: its manifest and its models on ``device``, frozen, in evaluation mode, each when it is taken out.

    Raises:
        FileFormatError: the manifest or weights are missing, damaged, or do not belong together.
    """
    manifest = ZooManifest.load(folder / MANIFEST)
    return manifest, _load_networks(
        folder / WEIGHTS, manifest.weights_sha256, manifest.network, len(manifest.models), device
    )


def load_judges(folder: Path, device: torch.device) -> tuple[ZooManifest, list[Classifier]]:
    """Read the judges of a zoo, judge ``i`` for model ``i``; an empty list where there are none.

    Raises:
        FileFormatError: as :func:`load_zoo`.
    """
    manifest = ZooManifest.load(folder / MANIFEST)
    if manifest.judges_sha256 is None:
        return manifest, []
    return manifest, list(
        _load_networks(folder / JUDGES, manifest.judges_sha256, manifest.network, len(manifest.judges), device)
    )


def _load_networks(
    path: Path, sha256: str, spec: NetworkSpec, count: int, device: torch.device
) -> Sequence[Classifier]:
    if not path.is_file():
        raise FileFormatError(f"{path} is missing beside its manifest; restore it or train this zoo again")
    if sha256_file(path) != sha256:
        raise FileFormatError(f"{path}: its digest differs from the manifest's; the file is damaged or foreign")
    states = load_weights(path, spec, count)

    def load(index: int) -> Classifier:
        network = build_network(spec)
        network.load_state_dict(states[index])
        network.requires_grad_(False).eval()
        return to_device(network, device)

    return OnDisk(count, load)
