"""Zoos from elsewhere on the shelf: imported by their card, checked, and read again by it."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dfml.artefacts.imported_zoo import ImportedFeatures, ImportedModel, ImportedZooManifest
from dfml.artefacts.zoo import MANIFEST, WEIGHTS
from dfml.errors import DataError, FileFormatError, some
from dfml.files.atomic import atomic_write
from dfml.files.reading import sha256_file
from dfml.files.tensors import TensorFile, layout_of
from dfml.jobs.job import Job
from dfml.zoo.imported.building import (
    LARGEST_BATCH,
    Imported,
    asked,
    build,
    function_of,
    program_of,
)
from dfml.zoo.imported.card import PROGRAM, ModelCard, ZooCard, read_card, registered_card
from dfml.zoo.imported.checks import check_answers, stored_norms
from dfml.zoo.imported.features import ImportedEncoder, find_features
from dfml.zoo.imported.weights import fit_weights, read_weights
from dfml.zoo.resident import OnDisk

REMEDY = "import the zoo again"
_MOST_FAULTS = 5
_CPU = torch.device("cpu")


def import_zoo(card_file: Path, folder: Path, *, name: str, job: Job) -> ImportedZooManifest:
    """Check the models of a card and write them into ``folder``: ``zoo.safetensors`` and ``zoo.json``.

    Every model is built, given its weights and asked about a batch. What the modules are made of stays in the card and
    the code beside it, which must be there whenever the zoo is used.

    Raises:
        DataError: the card is wrong, or a model is not what it says; it names the model, or the first few.
    """
    start = time.perf_counter()
    card, beside = read_card(card_file), card_file.parent
    tensors: dict[str, Tensor] = {}
    models: list[ImportedModel] = []
    names: list[str] = []
    faults: list[str] = []
    with job.progress.task(f"importing {name}", total=len(card.models)) as bar:
        for model in card.models:
            try:
                network, stored = _first_time(model, card, beside)
                again = partial(_built_again, model, card, beside, stored) if _is_built(model) else None
                check_answers(network, model, card.input_of(model), again)
                entry = _entry(model, card, network, names, len(models))
            except DataError as error:
                faults.append(str(error))
            if len(faults) == _MOST_FAULTS:
                break
            if not faults:
                tensors |= {f"{len(models)}.{key}": tensor for key, tensor in stored.items()}
                models.append(entry)
            bar.advance()
    if faults:
        raise DataError("; ".join(faults))
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, lambda partial: save_file(tensors, partial))
    manifest = ImportedZooManifest(
        name=name,
        card=str(card_file),
        files=_code_digests(card, card_file),
        label_space=card.label_space,
        side=max(model.side for model in models),
        mean=np.mean([model.mean for model in models], axis=0).tolist(),
        std=np.mean([model.std for model in models], axis=0).tolist(),
        class_names=names,
        models=models,
        weights_sha256=sha256_file(folder / WEIGHTS),
        seconds=time.perf_counter() - start,
        provenance=job.provenance(),
    )
    manifest.save(folder / MANIFEST)
    return manifest


def load_imported(folder: Path, device: torch.device) -> tuple[ImportedZooManifest, Sequence[Imported]]:
    """Read an imported zoo: its manifest and its models on ``device``, frozen, each built when it is taken out.

    Code is run as the card names it, which must be as it was at the import.

    Raises:
        FileFormatError: manifest or weights are missing, damaged, or do not belong together.
        DataError: the card was not named (`register_cards`), or it or the code beside it is gone or has changed.
    """
    manifest = ImportedZooManifest.load(folder / MANIFEST)
    card_file, card = registered_card(manifest.card)
    if _code_digests(card, card_file) != manifest.files or len(card.models) != len(manifest.models):
        raise DataError(f"{card_file} or the code beside it is not as it was when {folder} was imported; {REMEDY}")
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256_file(weights) != manifest.weights_sha256:
        raise FileFormatError(f"{weights} is missing, damaged or foreign; {REMEDY}")
    stored = TensorFile(weights, remedy=REMEDY)

    def load(index: int) -> Imported:
        return _again(card.models[index], card, card_file.parent, stored, manifest.models[index].index, device)

    return manifest, OnDisk(len(manifest.models), load)


def build_features(spec: ImportedFeatures) -> ImportedEncoder:
    """The module of an imported model, with whatever weights it begins with, as an encoder on the CPU.

    Raises:
        DataError: the card was not named (`register_cards`), or it or the code beside it is gone or has changed.
    """
    card_file, card = registered_card(spec.card)
    found = [model for model in card.models if model.name == spec.model]
    if _code_digests(card, card_file) != spec.files or not found:
        raise DataError(
            f"{card_file} or the code beside it is not as it was when `{spec.model}` was imported; {REMEDY}"
        )
    given = card.input_of(found[0])
    network = asked(build(found[0], given, card_file.parent).float(), found[0], given, _CPU)
    return ImportedEncoder(network, spec, given)


def _first_time(model: ModelCard, card: ZooCard, folder: Path) -> tuple[Imported, dict[str, Tensor]]:
    """A model from its owner's files, with the tensors to store."""
    given = card.input_of(model)
    if model.answers_only:
        return asked(function_of(model, given, folder), model, given, _CPU), {}
    assert model.weights is not None
    path = folder / model.weights
    if model.network == PROGRAM:
        content = path.read_bytes()
        stored = {PROGRAM: torch.frombuffer(bytearray(content), dtype=torch.uint8)}
        return asked(program_of(content, _CPU, model.name, least=LARGEST_BATCH), model, given, _CPU), stored
    network = build(model, given, folder)
    fit_weights(network, read_weights(path, name=model.name, below=model.below), name=model.name, path=path)
    # Tensors that share their memory cannot be stored as they are.
    stored = {key: tensor.detach().clone().contiguous() for key, tensor in network.state_dict().items()}
    if odd := [key for key, tensor in stored.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise DataError(
            f"model `{model.name}`: {some(odd, 6)} in {path} hold numbers that are not finite, and a zoo keeps none; a "
            "mask of such numbers is left out of the weights by `register_buffer` with `persistent=False`"
        )
    return asked(network, model, given, _CPU), stored


def _again(
    model: ModelCard, card: ZooCard, folder: Path, stored: TensorFile, index: int, device: torch.device
) -> Imported:
    given = card.input_of(model)
    if model.answers_only:
        return asked(function_of(model, given, folder), model, given, device)
    if model.network == PROGRAM:
        content = bytes(stored.tensor(f"{index}.{PROGRAM}").numpy())
        assert model.weights is not None
        if hashlib.sha256(content).hexdigest() != sha256_file(folder / model.weights):
            raise FileFormatError(
                f"{stored.path}: the program of model `{model.name}` is not {folder / model.weights}, which the card "
                f"names, and is not run; {REMEDY}"
            )
        return asked(program_of(content, device, model.name), model, given, device)
    network = build(model, given, folder).float()
    layout = {f"{index}.{key}": kind for key, kind in layout_of(network.state_dict()).items()}
    found = stored.read(layout, what=f"model `{model.name}`", others=True)
    network.load_state_dict({key.partition(".")[2]: tensor for key, tensor in found.items()})
    return asked(network, model, given, device)


def _is_built(model: ModelCard) -> bool:
    return not (model.answers_only or model.network == PROGRAM)


def _built_again(model: ModelCard, card: ZooCard, folder: Path, tensors: Mapping[str, Tensor]) -> Imported:
    given = card.input_of(model)
    network = build(model, given, folder).float()
    network.load_state_dict(tensors)
    return asked(network, model, given, _CPU)


def _entry(model: ModelCard, card: ZooCard, network: Imported, names: list[str], index: int) -> ImportedModel:
    """What the manifest says of a model; ``names`` grows by classes that no model before had."""
    given = card.input_of(model)
    called = card.classes_of(model)
    names += [name for name in called if name not in names]
    mean, std = given.normalisation
    kind: Any = "function" if model.answers_only else "program" if model.network == PROGRAM else "module"
    return ImportedModel(
        index=index,
        name=model.name,
        classes=[names.index(name) for name in called],
        kind=kind,
        side=given.side,
        channels=given.channels,
        mean=mean,
        std=std,
        outputs=model.outputs,
        accuracy=model.accuracy,
        parameters=_parameters(network),
        norms=stored_norms(network),
        features=find_features(network, model, given),
        licence=model.licence or card.licence,
        origin=model.origin or card.origin,
    )


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _code_digests(card: ZooCard, card_file: Path) -> dict[str, str]:
    """The SHA-256 of the card and of the code and class names beside it that it names, by path from its folder."""
    sources = sorted({name for model in card.models for name in (model.source, model.classes_file) if name})
    folder = card_file.parent
    return {card_file.name: sha256_file(card_file)} | {name: sha256_file(folder / name) for name in sources}
