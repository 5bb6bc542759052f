"""A learner adapted to a user's classes: answers for photos, and the files it is kept in."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.export import Dim, ExportedProgram, export, save

from dfml.artefacts.classifier import ClassifierManifest
from dfml.compute.device import apart_from_caller, refuse_other_types
from dfml.compute.placement import to_device
from dfml.errors import DfmlError, FileFormatError, without_log
from dfml.files.atomic import atomic_write
from dfml.files.reading import as_path, checked_header
from dfml.files.tensors import digest_tensors, layout_of, read_metadata, read_tensors
from dfml.use.frozen import FrozenClassifier
from dfml.use.labels import Label
from dfml.use.pictures import Picture, Pictures, is_one, read_picture, read_pictures

KEY = "dfml"
"""Under which a file's metadata has the manifest."""

_REMEDY = "adapt the learner again"
# Images that are answered at a time, which bounds the memory.
_AT_ONCE = 64


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        name: The likeliest class.
        probability: Its share of the probabilities. A softmax of scores, which says how classes compare and is not
            calibrated: 0.6 is not six right answers of ten.
        probabilities: Of every class by name; they sum to 1.
    """

    name: Label
    probability: float
    probabilities: dict[Label, float]


class AdaptedClassifier:
    """What :meth:`dfml.use.learner.FewShotLearner.adapt` returns and :func:`load_classifier` reads.

    Attributes:
        names: The classes, in the order of probabilities.
        module: The plain module behind it.
    """

    def __init__(self, module: FrozenClassifier, manifest: ClassifierManifest) -> None:
        self.module, self.manifest = module, manifest
        self.names: tuple[Label, ...] = tuple(manifest.names)

    @overload  # a text is a path, although it is a sequence of texts, too
    def __call__(self, images: str | Path | Image.Image) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: np.ndarray | Tensor) -> Prediction | list[Prediction]: ...

    @overload
    def __call__(self, images: Sequence[Picture]) -> list[Prediction]: ...

    def __call__(self, images: Picture | Pictures) -> Prediction | list[Prediction]:
        """Classify one image or several; each is answered as if it were alone.

        Args:
            images: what :mod:`dfml.use.pictures` reads; one image gives one answer, a list a list.

        Raises:
            DataError: an image cannot be read or is none; all such are named.
        """
        rows = self.probabilities(images).tolist()
        answers = [dict(zip(self.names, row, strict=True)) for row in rows]
        found = [Prediction(*max(answer.items(), key=lambda item: item[1]), answer) for answer in answers]
        return found[0] if is_one(images) else found

    @apart_from_caller()
    @torch.no_grad()
    def probabilities(self, images: Picture | Pictures) -> Tensor:
        """Probabilities ``[m, ways]``, classes in the order of ``names``; one image has m = 1."""
        side = self.manifest.side
        # The two kinds are told apart by is_one, which a type checker cannot follow.
        pixels = read_picture(images, side)[None] if is_one(images) else read_pictures(images, side)  # type: ignore[arg-type]
        return torch.cat([self.module(chunk) for chunk in pixels.split(_AT_ONCE)])

    def save(self, path: str | Path) -> None:
        """Write it as one safetensors file, with names and origin in the metadata.

        Raises:
            DfmlError: the name does not end in ``.safetensors``, a file of another kind has it, or the disk is full.
        """
        path = _with_ending(path, ".safetensors")
        if os.path.lexists(path):
            try:
                read_metadata(path, KEY, remedy=_REMEDY)
            except FileFormatError:
                raise DfmlError(f"{path} is there and no adapted classifier; give another name") from None
        tensors = {name: tensor.contiguous() for name, tensor in self.module.state_dict().items()}
        metadata = {KEY: json.dumps(self.manifest.content(), ensure_ascii=False)}
        atomic_write(path, lambda partial: save_file(tensors, partial, metadata))

    def export(self, path: str | Path | None = None) -> ExportedProgram:
        """The classifier as a program of ``torch.export``, which runs without dfml.

        It takes any number of images at once, float in [0, 1], ``[m, 3, side, side]``, and returns probabilities
        ``[m, ways]``. Photos have to be resized before, with ``manifest.side`` as the side.

        Args:
            path: where to write it as well; ``classes.json`` in its extra files has the names in order.

        Raises:
            DfmlError: the name does not end in ``.pt2``, or the disk is full.
        """
        # A copy in torch's own memory format: the writer of programs takes other strides for parts of a larger tensor.
        module = copy.deepcopy(self.module).to(memory_format=torch.contiguous_format)
        example = torch.zeros(2, 3, self.manifest.side, self.manifest.side)
        program = export(module, (example,), dynamic_shapes=({0: Dim("images", min=1)},))
        if path is not None:
            names = {"classes.json": json.dumps(self.manifest.names, ensure_ascii=False)}
            atomic_write(_with_ending(path, ".pt2"), lambda partial: save(program, partial, extra_files=names))
        return program

    def export_onnx(self, path: str | Path) -> None:
        """Write the classifier as ONNX, which runs without dfml and without PyTorch.

        It takes and returns what :meth:`export` does, as ``images`` and ``probabilities``; its metadata has the names
        in order as JSON, below ``classes``. Needs the packages onnx and onnxscript (``pip install dfml[onnx]``).

        Args:
            path: where to; it ends in ``.onnx``.

        Raises:
            DfmlError: the name does not end so, a package is missing, or the disk is full.
        """
        path = _with_ending(path, ".onnx")
        if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
            raise DfmlError(f"ONNX is written by {' and '.join(missing)}, not here: pip install 'dfml[onnx]'")
        # It says much of packages that have no part in this.
        with without_log("torch.onnx", below=logging.ERROR):
            program = torch.onnx.export(
                self.export(), dynamo=True, verbose=False, input_names=["images"], output_names=["probabilities"]
            )
        assert program is not None
        program.model.metadata_props["classes"] = json.dumps(self.manifest.names, ensure_ascii=False)
        atomic_write(path, program.save)


@apart_from_caller()
def load_classifier(path: str | Path) -> AdaptedClassifier:
    """Read what :meth:`AdaptedClassifier.save` wrote; names and shapes are checked before any tensor is made.

    Raises:
        FileFormatError: the file is missing, damaged, foreign or of another version.
    """
    refuse_other_types()
    path = as_path(path)
    if not os.path.isfile(path):
        what = "is a folder; a learner's is read by load" if os.path.isdir(path) else "there is no such file"
        raise FileFormatError(f"{path}: {what}")
    kind = ClassifierManifest
    content = checked_header(
        read_metadata(path, KEY, remedy=_REMEDY), path, format=kind.FORMAT, version=kind.VERSION, maker=kind.MAKER
    )
    manifest = kind.of(content, path)
    with torch.device("meta"):
        module = FrozenClassifier(manifest.encoders, rule=manifest.rule, ways=len(manifest.names))
    tensors = read_tensors(path, layout_of(module.state_dict()), what="its metadata", remedy=_REMEDY)
    if digest_tensors(tensors) != manifest.tensors_sha256:
        raise FileFormatError(f"{path}: the digest of its tensors differs from that of its metadata; {_REMEDY}")
    module.load_state_dict(tensors, assign=True)
    return AdaptedClassifier(to_device(module, torch.device("cpu")), manifest)


def _with_ending(path: str | Path, ending: str) -> Path:
    named = as_path(path)
    if named.suffix != ending:
        raise DfmlError(f"{named}: the name of such a file ends in {ending}")
    if os.path.isdir(named):
        raise DfmlError(f"{named} is a folder; give the name of a file")
    return named
