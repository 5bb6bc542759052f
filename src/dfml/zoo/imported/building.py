"""From a card to a classifier: the module its owner names, its weights, and the form in which a pool asks it."""

import importlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass
from torch.optim.swa_utils import AveragedModel

from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import DataError, DfmlError, without_log
from dfml.files.user_code import importable, load_file, said
from dfml.networks.build import build_network
from dfml.zoo.imported.card import PROGRAM, ModelCard
from dfml.zoo.imported.inputs import InputCard

# ITU-R BT.601, as Pillow makes grey of colours.
_GREY = (0.299, 0.587, 0.114)
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
LARGEST_BATCH = 256
"""As many images as heads ask about at once."""


class _Function(nn.Module):
    """A function in the place of a module. A graph of torch.export comes so: it refuses to be put into a mode."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, images: Tensor) -> Any:
        return self._function(images)


class Imported(nn.Module):
    """A classifier from elsewhere as every other of a pool: normalised RGB images in, logits out.

    It sees images in torch's own memory format: in another one ``view`` fails, which modules may use.

    Args:
        network: the module; or a function of images as the model takes them, ``[B, channels, side, side]``, that gives
            ``[B, classes]``, whose tensors, if it has any, are not the module's.
        channels: ``rgb``, ``bgr`` or ``grey``.
        outputs: what it answers with: ``logits``, ``probabilities``, or ``sigmoid``, a probability for each class by
            itself.
    """

    grey: Tensor

    def __init__(self, network: Callable[[Tensor], Any], *, channels: str, outputs: str) -> None:
        super().__init__()
        self.module = network if isinstance(network, nn.Module) else _Function(network)
        self.channels, self.outputs = channels, outputs
        self.register_buffer("grey", torch.tensor(_GREY)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of normalised images ``[B, 3, side, side]``; of probabilities their logarithms.

        Of those of a sigmoid what went into it.
        """
        answers = self.own_answers(images)
        if self.outputs == "probabilities":
            return answers.clamp_min(torch.finfo(answers.dtype).tiny).log()
        if self.outputs == "sigmoid":
            return torch.logit(answers, eps=torch.finfo(answers.dtype).eps)
        return answers

    def own_answers(self, images: Tensor) -> Any:
        """What the module itself answers about the same images, logits or not."""
        if self.channels == "bgr":
            images = images.flip(1)
        elif self.channels == "grey":
            images = (images * self.grey).sum(1, keepdim=True)
        return self.module(images.contiguous())


def build(model: ModelCard, given: InputCard, folder: Path) -> nn.Module:
    """The module that a card names, with whatever weights it begins with.

    Raises:
        DataError: there is no such function or network, or it cannot be called so.
    """
    made = _call(model, given, folder)
    if not isinstance(made, nn.Module):
        what = f"a {type(made).__name__}"
        raise refused(model, f"{model.network} gives {what}, not a torch.nn.Module; see `answers_only`")
    return _with_plain_norms(_unwrapped(made), given)


def _unwrapped(network: nn.Module) -> nn.Module:
    """The module itself, without what training puts around it: `DataParallel` and its like, or `torch.compile`."""
    while isinstance(network, _WRAPPERS):
        network = network.module
    inner: Any = network._orig_mod if type(network).__name__ == "OptimizedModule" else network
    return cast(nn.Module, inner)


@torch.no_grad()
def _with_plain_norms(network: nn.Module, given: InputCard) -> nn.Module:
    """Put plain batch norms in the place of those that several processes share; in evaluation they are the same.

    Only of those over pictures, which inversion and statistics of a batch look at; they are seen by a picture.
    """
    shared = [one for one in network.modules() if type(one) is nn.SyncBatchNorm]
    if not shared:
        return network
    over_pictures: dict[nn.Module, nn.BatchNorm2d] = {}

    def note(norm: nn.Module, inputs: Any) -> None:
        assert isinstance(norm, nn.SyncBatchNorm)
        if inputs[0].dim() == 4:
            plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            plain.load_state_dict(norm.state_dict())
            over_pictures[norm] = plain

    hooks = [norm.register_forward_pre_hook(note) for norm in shared]
    try:
        network.eval()(torch.zeros(1, 1 if given.channels == "grey" else 3, given.side, given.side))
    except (Exception, SystemExit):
        pass  # the user's own code: whoever asks it next says what is wrong
    finally:
        for hook in hooks:
            hook.remove()
    for parent in list(network.modules()):
        for name, norm in list(parent._modules.items()):
            if norm in over_pictures:
                setattr(parent, name, over_pictures[norm])
    return network


def function_of(model: ModelCard, given: InputCard, folder: Path) -> Callable[[Tensor], Any]:
    """The function that answers for a model that gives nothing else; its answers, float32, carry no gradient.

    It gets images on the CPU, and its answers go where the images were.

    Whatever stands behind it may fail at any call: each is looked at, as :func:`answered` does.

    Raises:
        DataError: as :func:`build`, of a function of images.
    """
    made = _call(model, given, folder)
    if not callable(made):
        raise refused(model, f"{model.network} gives a {type(made).__name__}, not a function of images")

    def ask(images: Tensor) -> Any:
        answers = made(images.cpu())
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
    except (Exception, SystemExit) as error:  # the user's own code
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
            if device.type != "cpu":  # what its graph makes or holds of its own has to go there, too
                program = move_to_device_pass(program, str(device))
            module, most = program.module(), _largest_batch(program)
    except Exception as error:  # its reader trusts the file
        raise DataError(f"model `{name}`: its weights are no exported program ({said(error)})") from None
    if most < least:
        raise DataError(
            f"model `{name}`: its program takes at most {most:g} images at once, and has to take {least}; "
            'export it with `dynamic_shapes=({0: torch.export.Dim("batch")},)`'
        )
    module.requires_grad_(False)
    return module.to(device).forward


def _largest_batch(program: torch.export.ExportedProgram) -> float:
    """How many images a program takes at once, infinite without a bound."""
    images = next(node for node in program.graph.nodes if node.name == program.graph_signature.user_inputs[0])
    size = images.meta["val"].shape[0]
    bounds = program.range_constraints.get(size.node.expr) if isinstance(size, torch.SymInt) else None
    return float(size if bounds is None else bounds.upper)


def asked(network: Callable[[Tensor], Any], model: ModelCard, given: InputCard, device: torch.device) -> Imported:
    """The frozen classifier of a pool on ``device``, in evaluation mode.

    Raises:
        DataError: its module cannot be put there, or into that mode.
    """
    classifier = Imported(network, channels=given.channels, outputs=model.outputs)
    try:
        return classifier.requires_grad_(False).eval().to(device)
    except Exception as error:  # methods of the user's own in the place of torch's
        raise refused(model, f"it cannot be put into evaluation mode on the {device.type} ({said(error)})") from error


def _call(model: ModelCard, given: InputCard, folder: Path) -> Any:
    outputs = len(model.classes)
    source, _, name = model.network.rpartition(":")
    with torch.random.fork_rng(devices=[]), _own_state():
        try:
            if source == "torchvision":
                import torchvision

                return torchvision.models.get_model(name, **{"num_classes": outputs, "weights": None, **model.options})
            if source == "timm":
                return _timm(model).create_model(name, **{"num_classes": outputs, "pretrained": False, **model.options})
            if source == "dfml":
                spec = {"family": name, "width": 32, "ways": outputs, "side": given.side, **model.options}
                return build_network(NetworkSpec.model_validate(spec))
            with importable(folder) if model.source else nullcontext():
                return _named(model, folder)(**model.options)
        except DataError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code, or options that do not fit
            raise refused(model, f"{model.network} cannot be built ({said(error)})") from error


@contextmanager
def _own_state() -> Iterator[None]:
    """What somebody's code sets for all of torch is set back: type, device and whether gradients are recorded."""
    dtype, device, graded = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(graded)


def _timm(model: ModelCard) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise refused(
            model,
            f"{model.network} needs the package timm, which is not installed here: "
            "`./run.sh python -m pip install timm`",
        ) from None


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
