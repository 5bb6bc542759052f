"""From a card to a classifier: the module its owner names, its weights, and the form in which a pool asks it."""

import importlib
import io
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.placement import to_device
from dfml.errors import DataError, DfmlError, some, without_log
from dfml.files.user_code import importable, load_file, said
from dfml.networks.build import build_network
from dfml.zoo.imported.card import PROGRAM, InputCard, ModelCard

State = dict[str, Tensor]
# ITU-R BT.601, as Pillow makes grey of colours.
_GREY = (0.299, 0.587, 0.114)
LARGEST_BATCH = 256
"""As many images as heads ask about at once."""

# Where a checkpoint keeps its state dict, and what torch's DataParallel puts before every name.
_NESTED = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."


class _Function(nn.Module):
    """A function in the place of a module. A graph of torch.export comes so: it refuses to be put into a mode."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, images: Tensor) -> Any:
        return self._function(images)


class Imported(nn.Module):
    """A classifier from elsewhere as every other of a pool: normalised RGB images in, logits out.

    Args:
        network: the module; or a function of images as the model takes them, ``[B, channels, side, side]``, that gives
            ``[B, classes]``, whose tensors, if it has any, are not the module's.
        channels: ``rgb``, ``bgr`` or ``grey``.
        outputs: what it answers with, ``logits`` or ``probabilities``.
    """

    grey: Tensor

    def __init__(self, network: Callable[[Tensor], Any], *, channels: str, outputs: str) -> None:
        super().__init__()
        self.module = network if isinstance(network, nn.Module) else _Function(network)
        self.channels, self.outputs = channels, outputs
        self.register_buffer("grey", torch.tensor(_GREY)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of normalised images ``[B, 3, side, side]``; of probabilities their logarithms."""
        if self.channels == "bgr":
            images = images.flip(1)
        elif self.channels == "grey":
            images = (images * self.grey).sum(1, keepdim=True)
        answers = self.module(images)
        if self.outputs == "probabilities":
            return answers.clamp_min(torch.finfo(answers.dtype).tiny).log()
        return answers


def build(model: ModelCard, given: InputCard, folder: Path) -> nn.Module:
    """The module that a card names, with whatever weights it begins with.

    Raises:
        DataError: there is no such function or network, or it cannot be called so.
    """
    made = _call(model, given, folder)
    if not isinstance(made, nn.Module):
        what = f"a {type(made).__name__}"
        raise refused(model, f"{model.network} gives {what}, not a torch.nn.Module; see `answers_only`")
    return made


def function_of(model: ModelCard, given: InputCard, folder: Path) -> Callable[[Tensor], Any]:
    """The function that answers for a model that gives nothing else; its answers, float32, carry no gradient.

    Whatever stands behind it may fail at any call: each is looked at, as :func:`answered` does.

    Raises:
        DataError: as :func:`build`, of a function of images.
    """
    made = _call(model, given, folder)
    if not callable(made):
        raise refused(model, f"{model.network} gives a {type(made).__name__}, not a function of images")

    def ask(images: Tensor) -> Any:
        answers = made(images)
        plain = isinstance(answers, Tensor | np.ndarray | list)
        return torch.as_tensor(answers, dtype=torch.float32, device=images.device) if plain else answers

    @torch.no_grad()
    def answer(images: Tensor) -> Tensor:
        return answered(ask, images, model)

    return answer


def answered(network: Callable[[Tensor], Any], images: Tensor, model: ModelCard) -> Tensor:
    """What a model answers about a batch, ``[B, classes]``.

    Raises:
        DataError: it fails, or its answers have another shape than the card says or are not finite.
    """
    try:
        answers = network(images)
    except DataError:
        raise
    except Exception as error:  # the user's own code
        batch = f"a batch of {len(images)} images of side {images.shape[-1]}"
        raise refused(model, f"it fails on {batch} ({said(error)})") from error
    if not isinstance(answers, Tensor):
        raise refused(model, f"it answers with a {type(answers).__name__}; wrap it so that it gives a tensor")
    if answers.shape != (len(images), len(model.classes)):
        shape, wanted = list(answers.shape), [len(images), len(model.classes)]
        raise refused(model, f"its answers have the shape {shape}, its {len(model.classes)} `classes` want {wanted}")
    if not bool(answers.isfinite().all()):
        raise refused(model, "its answers are not finite")
    return answers


def refused(model: ModelCard, why: str) -> DataError:
    """The error that names a model."""
    return DataError(f"model `{model.name}`: {why}")


def program_of(content: bytes, device: torch.device, name: str, *, least: int = 1) -> Callable[[Tensor], Any]:
    """An exported program as a function; reading it runs whatever its writer wanted.

    Raises:
        DataError: it is none, or does not take ``least`` images at once.
    """
    try:
        with without_log("torch.export"):  # a traceback of what is told in one line
            program = torch.export.load(io.BytesIO(content))
            module, most = program.module(), _largest_batch(program)
    except Exception as error:  # its reader trusts the file
        raise DataError(f"model `{name}`: its weights are no exported program ({said(error)})") from None
    if most < least:
        raise DataError(
            f"model `{name}`: its program takes at most {most:g} images at once, and has to take {least}; "
            'export it with `dynamic_shapes=({0: torch.export.Dim("batch")},)`'
        )
    module.requires_grad_(False)
    return to_device(module, device).forward


def _largest_batch(program: torch.export.ExportedProgram) -> float:
    """How many images a program takes at once, infinite without a bound."""
    images = next(node for node in program.graph.nodes if node.name == program.graph_signature.user_inputs[0])
    size = images.meta["val"].shape[0]
    bounds = program.range_constraints.get(size.node.expr) if isinstance(size, torch.SymInt) else None
    return float(size if bounds is None else bounds.upper)


def asked(network: Callable[[Tensor], Any], model: ModelCard, given: InputCard, device: torch.device) -> Imported:
    """The frozen classifier of a pool on ``device``, in evaluation mode."""
    classifier = Imported(network, channels=given.channels, outputs=model.outputs)
    return to_device(classifier.requires_grad_(False).eval(), device)


def read_weights(path: Path) -> State:
    """The tensors of a file that somebody else wrote; nothing in it is run.

    Raises:
        DataError: it is neither safetensors nor a state dict of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch's reader raise almost anything
        raise DataError(
            f"{path} holds no plain weights ({said(error)}); save `model.state_dict()` with safetensors or torch.save"
        ) from None
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    tensors = isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())
    if not (tensors and found):
        raise DataError(f"{path} holds no state dict of tensors; save `model.state_dict()`")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in found.items()}


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is of a type for whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def _counted(tensor: Tensor) -> Tensor:
    """Whole numbers as such, if all are and the type is another."""
    return tensor.long() if tensor.is_floating_point() and bool((tensor % 1 == 0).all()) else tensor


def fit_weights(network: nn.Module, state: State, *, name: str, path: Path) -> None:
    """Give a module its weights.

    Raises:
        DataError: names, shapes or kinds of numbers differ, as those of quantised weights do; it lists them.
    """
    own = network.state_dict()
    if own.keys() != state.keys() and all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    # Counters of batches that went through `.half()` with all the rest.
    state = {key: _counted(value) if key in own and _is_whole(own[key]) else value for key, value in state.items()}
    if unsized := [key for key, tensor in own.items() if is_lazy(tensor)]:
        raise DataError(
            f"model `{name}`: the sizes of {some(unsized, 6)} are not known before the first call; give "
            "its layers their sizes, as LazyLinear and its like do not"
        )
    faults = [f"missing {key}" for key in own if key not in state]
    faults += [f"unknown {key}" for key in state if key not in own]
    faults += [
        f"{key} is {list(state[key].shape)}, not {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults += [f"{key} is complex" for key in own if key in state and state[key].is_complex()]
    faults += [
        f"{key} is quantised"
        for key in own
        if key in state
        and not state[key].is_complex()
        and state[key].is_floating_point() != own[key].is_floating_point()
    ]
    if faults:
        raise DataError(f"model `{name}`: {path} does not fit its network: {some(faults, 6)}")
    network.float()
    network.load_state_dict(state)


def _call(model: ModelCard, given: InputCard, folder: Path) -> Any:
    outputs = len(model.classes)
    source, _, name = model.network.rpartition(":")
    with torch.random.fork_rng(devices=[]):
        try:
            if source == "torchvision":
                import torchvision

                return torchvision.models.get_model(name, **{"num_classes": outputs, "weights": None, **model.options})
            if source == "timm":
                return _timm().create_model(name, **{"num_classes": outputs, "pretrained": False, **model.options})
            if source == "dfml":
                spec = {"family": name, "width": 32, "ways": outputs, "side": given.side, **model.options}
                return build_network(NetworkSpec.model_validate(spec))
            with importable(folder) if model.source else nullcontext():
                return _named(model, folder)(**model.options)
        except DataError:
            raise
        except Exception as error:  # the user's own code, or options that do not fit
            raise refused(model, f"{model.network} cannot be built ({said(error)})") from error


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise DataError("the package timm is not installed here; install it, or name a function of your own") from None


def _named(model: ModelCard, folder: Path) -> Callable[..., Any]:
    source, _, name = model.network.rpartition(":")
    if model.network == PROGRAM:
        raise refused(model, "an exported program is read, not built")
    key = f"model `{model.name}`"
    try:
        module = load_file(folder / source, key=key) if model.source else importlib.import_module(source)
    except DfmlError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # the user's own code
        raise refused(model, f"{source} cannot be imported ({said(error)})") from error
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise refused(model, f"{source} has no function `{name}`")
    return found
