"""Learners on the shelf: the kept iterates in one safetensors file, facts in ``learner.json``."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.artefacts.learner import MANIFEST, WEIGHTS, LearnerManifest
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import to_device
from dfml.errors import FileFormatError
from dfml.files.atomic import atomic_write
from dfml.files.reading import sha256_file
from dfml.files.tensors import Layout, layout_of, read_tensors
from dfml.metalearning.learner import Learner
from dfml.networks.build import build_network, outline
from dfml.networks.classifier import Classifier
from dfml.zoo.imported.store import build_features


def save_weights(path: Path, snapshots: list[list[dict[str, Tensor]]]) -> str:
    """Write the weights of a learner, one state dict per encoder for each kept iterate; returns the file's sha256."""
    tensors = {
        f"encoder{e}/{name}": torch.stack([states[e][name] for states in snapshots]).contiguous()
        for e in range(len(snapshots[0]))
        for name in snapshots[0][e]
    }
    atomic_write(path, lambda partial: save_file(tensors, partial))
    return sha256_file(path)


def load_learner(
    folder: Path, *, steps: int, learning_rate: float, device: torch.device
) -> tuple[LearnerManifest, list[Learner]]:
    """Read a learner: one :class:`Learner` per kept iterate, the last one last.

    Args:
        folder: with the weights and their manifest.
        steps, learning_rate: of fine-tuning.
        device: where it shall live.

    Raises:
        FileFormatError: a file is missing, damaged, or does not fit its manifest.
        DataError: it has the features of an imported model whose card or code is gone or has changed.
    """
    manifest = LearnerManifest.load(folder / MANIFEST)
    path = folder / WEIGHTS
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise FileFormatError(f"{path}: not readable ({error.strerror}); run the meta-learning again") from None
    if digest != manifest.weights_sha256:
        raise FileFormatError(f"{path}: its digest differs from the manifest's; the file is damaged or foreign")
    tensors = read_tensors(
        path,
        _layout(manifest),
        what="its manifest",
        remedy="run the meta-learning again",
        device=device,
        others=True,
    )
    domains = {
        name: (torch.tensor(own.mean, device=device), torch.tensor(own.std, device=device))
        for name, own in manifest.domains.items()
    }
    learners = [
        Learner(
            [_encoder(tensors, spec, e, index, device) for e, spec in enumerate(manifest.encoders)],
            mean=torch.tensor(manifest.mean, device=device),
            std=torch.tensor(manifest.std, device=device),
            finetune=manifest.finetune,
            head_only=manifest.head_only,
            steps=steps,
            learning_rate=learning_rate,
            domains=domains,
            sides=[spec.side for spec in manifest.encoders],
        )
        for index in range(len(manifest.snapshots))
    ]
    return manifest, learners


def _layout(manifest: LearnerManifest) -> Layout:
    layout: Layout = {}
    ours = {spec for spec in manifest.encoders if isinstance(spec, NetworkSpec)}
    outlines = {spec: dict(outline(spec, episodic=True).named_parameters()) for spec in ours}
    for encoder, spec in enumerate(manifest.encoders):
        tensors = outlines[spec] if isinstance(spec, NetworkSpec) else build_features(spec).imported.state_dict()
        own = layout_of(tensors, copies=len(manifest.snapshots))
        layout |= {f"encoder{encoder}/{name}": look for name, look in own.items()}
    return layout


def _encoder(
    tensors: dict[str, Tensor],
    spec: NetworkSpec | ImportedFeatures,
    encoder: int,
    snapshot: int,
    device: torch.device,
) -> Classifier:
    if isinstance(spec, ImportedFeatures):
        features = build_features(spec)
        own = features.imported.state_dict()
        features.imported.load_state_dict({name: tensors[f"encoder{encoder}/{name}"][snapshot] for name in own})
        return features.eval().to(device)  # in torch's own memory format, as the pool asks it
    network = build_network(spec, episodic=True)
    network.load_state_dict(
        {name: tensors[f"encoder{encoder}/{name}"][snapshot] for name, _ in network.named_parameters()}
    )
    return to_device(network.requires_grad_(False), device)
