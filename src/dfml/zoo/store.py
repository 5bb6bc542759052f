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

State = dict[str, Tensor]


def save_weights(path: Path, states: Sequence[State]) -> str:
    """Stack state dicts of one architecture over models, write them, and return the file's sha256."""
    stacked = {name: torch.stack([s[name] for s in states]).contiguous() for name in states[0]}
    atomic_write(path, lambda partial: save_file(stacked, partial))
    return sha256_file(path)


def load_weights(path: Path, spec: NetworkSpec, models: int) -> list[State]:
    """Read the state dicts of ``models`` networks; views of the stacked tensors, no copies.

    Raises:
        FileFormatError: the file is missing, truncated, or its tensors are not those of ``spec``, or not finite.
    """
    stacked = read_tensors(
        path,
        layout_of(outline(spec).state_dict(), copies=models),
        what=f"a {spec.family} of width {spec.width}",
        remedy="train this zoo again",
    )
    return [{name: tensor[i] for name, tensor in stacked.items()} for i in range(models)]


def load_zoo(folder: Path, device: torch.device) -> tuple[ZooManifest, list[Classifier]]:
    """Read a zoo: its manifest and its models on ``device``, frozen, in evaluation mode.

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
    return manifest, _load_networks(
        folder / JUDGES, manifest.judges_sha256, manifest.network, len(manifest.judges), device
    )


def _load_networks(path: Path, sha256: str, spec: NetworkSpec, count: int, device: torch.device) -> list[Classifier]:
    if not path.is_file():
        raise FileFormatError(f"{path} is missing beside its manifest; restore it or train this zoo again")
    if sha256_file(path) != sha256:
        raise FileFormatError(f"{path}: its digest differs from the manifest's; the file is damaged or foreign")
    networks = []
    for state in load_weights(path, spec, count):
        network = build_network(spec)
        network.load_state_dict(state)
        network.requires_grad_(False).eval()
        networks.append(to_device(network, device))
    return networks
