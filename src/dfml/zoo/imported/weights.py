"""Weights that somebody else saved: the state dict in a checkpoint, and its way into a module."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dfml.errors import DataError, some
from dfml.files.user_code import said

State = dict[str, Tensor]

# Where a checkpoint keeps a state dict.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_DEEPEST = 4  # a mapping of somebody else's may hold itself
_POINTER = b"version https://git-lfs"
_LONGEST = 240
# What profilers leave in a module, and what batch norms count: neither is a weight.
_COUNTERS = ("total_ops", "total_params", "num_batches_tracked")


def read_weights(path: Path, *, name: str, below: str | None = None) -> State:
    """The tensors of a file that somebody else wrote; nothing in it is run.

    ``name`` is the model's, for messages; ``below`` the key of a checkpoint that has them, without which the usual ones
    are looked at.

    Raises:
        DataError: it is neither safetensors nor a state dict of tensors, or has several of these.
    """
    try:
        return _state_in(path, below)
    except DataError as error:
        raise DataError(f"model `{name}`: {error}") from None


def _state_in(path: Path, below: str | None) -> State:
    found = _read(path)
    if below is not None:
        if not (isinstance(found, Mapping) and isinstance(found.get(below), Mapping)):
            raise DataError(f"{path} has nothing below {below!r}; {_has(found)}")
        found = found[below]
    inside: list[Any] = []
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping) or _is_state(found):
            break
        inside = [key for key in found if isinstance(found[key], Mapping) and _is_state(found[key])]
        if below is None and len(inside) > 1:
            raise DataError(f"{path} has several sets of weights, {', '.join(map(repr, inside))}; name one by `below`")
        usual = next((name for name in _NESTED if isinstance(found.get(name), Mapping)), None)
        if usual is None:
            break
        found = found[usual]
    if not _is_state(found):
        named = inside[0] if below is None and inside else None
        remedy = f"If {named!r} is it, say `below: {named}`" if named else "Save `model.state_dict()`"
        raise DataError(f"{path} holds no state dict of tensors; {_has(found)}. {remedy}")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in found.items()}


def _is_state(found: Any) -> bool:
    return isinstance(found, Mapping) and bool(found) and all(isinstance(value, Tensor) for value in found.values())


def _has(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"it has a {type(found).__name__}"
    return f"it has {some([repr(key) for key in found], 6) or 'nothing'}"


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            begins = file.read(max(len(_POINTER), 9))
        if begins.startswith(_POINTER):
            raise DataError(f"{path} is a pointer of Git LFS and holds no plain weights; fetch the file itself")
        # A length of eight bytes and a JSON object, whatever the file is called.
        if path.suffix == ".safetensors" or begins[8:9] == b"{":
            return safetensors.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of the file's kind is said here
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # damaged bytes make torch's reader raise almost anything
        raise DataError(f"{path} {_why(error)}; save `model.state_dict()` with safetensors or torch.save") from None


def _why(error: Exception) -> str:
    """Why torch does not read a file, without the advice to let it run code."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", said(error))
    if strange := re.search(
        r"(?:Unsupported global: GLOBAL|Unsupported class|WeightsUnpickler error: \w+ class) ([\w.]+)", text
    ):
        return f"holds no plain weights: there is a {strange[1]} in it, and nothing but tensors is read"
    if "TorchScript" in text:
        return "holds no plain weights but a program of TorchScript"
    if "Weights only load failed" in text:
        told = re.search(r"WeightsUnpickler error: (.*?)(?:\. | Check the documentation|$)", text)
        text = told[1] if told else "it is no archive of tensors"
    return f"holds no plain weights ({text[:_LONGEST]}{'…' if len(text) > _LONGEST else ''})"


def fit_weights(network: nn.Module, state: State, *, name: str, path: Path) -> None:
    """Give a module its weights.

    What all their names begin with, such as ``module.`` of DataParallel or ``model.`` of Lightning, is left out.

    Raises:
        DataError: names, shapes or kinds of numbers differ, as those of quantised weights do; it lists them.
    """
    own = network.state_dict()
    if unsized := [key for key, tensor in own.items() if is_lazy(tensor)]:
        raise DataError(
            f"model `{name}`: the sizes of {some(unsized, 6)} are not known before the first call; give "
            "its layers their sizes, as LazyLinear and its like do not"
        )
    state = _without_prefix(state, own, name=name, path=path)
    state = {key: value for key, value in own.items() if _is_counter(key)} | state
    state = {key: value for key, value in state.items() if key in own or not _is_counter(key)}
    # Counters of batches that went through `.half()` with all the rest.
    state = {key: _counted(value) if key in own and _is_whole(own[key]) else value for key, value in state.items()}
    if faults := list(_faults(own, state)):
        raise DataError(f"model `{name}`: {path} does not fit its network: {some(faults, 6)}")
    network.float()
    network.load_state_dict(state)


def _without_prefix(state: State, own: State, *, name: str, path: Path) -> State:
    """The tensors whose names fit once what they begin with is left out; all, where they fit as they are or never."""
    wanted = [key for key in own if not _is_counter(key)]
    if not wanted or all(key in state for key in wanted):
        return state
    begins = [key.removesuffix(wanted[0]) for key in state if key.endswith(f".{wanted[0]}")]
    fitting = [prefix for prefix in begins if all(prefix + key in state for key in wanted)]
    if len(fitting) > 1:
        raise DataError(
            f"model `{name}`: {path} has several networks, {', '.join(fitting)}; save the state dict of one alone"
        )
    if fitting:
        beside = [key for key in state if not (key.startswith(fitting[0]) or _is_counter(key) or state[key].dim() == 0)]
        if beside:
            raise DataError(
                f"model `{name}`: beside {fitting[0]}, which fits its network, {path} has {some(beside, 6)}; save the "
                "state dict of the network alone"
            )
    common = fitting[0] if fitting else _common_prefix(state)
    return {key.removeprefix(common): value for key, value in state.items() if key.startswith(common)}


def _common_prefix(state: State) -> str:
    """What DataParallel or `torch.compile` put before every name, so that faults are told of the names after it."""
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            return prefix
    return ""


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] in _COUNTERS


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is of a type for whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def _counted(tensor: Tensor) -> Tensor:
    """Whole numbers as such, if all are and the type is another."""
    return tensor.long() if tensor.is_floating_point() and bool((tensor % 1 == 0).all()) else tensor


def _faults(own: State, state: State) -> Iterator[str]:
    """What does not fit: names that are unknown or missing by turns, so that neither hides the other; then the rest."""
    missing = [f"missing {key}" for key in own if key not in state]
    unknown = [f"unknown {key}" for key in state if key not in own]
    for pair in zip(unknown, missing, strict=False):
        yield from pair
    shared = min(len(unknown), len(missing))
    yield from unknown[shared:] + missing[shared:]
    both = [(key, own[key], state[key]) for key in own if key in state]
    yield from (
        f"{key} is {list(its.shape)}, not {list(mine.shape)}" for key, mine, its in both if its.shape != mine.shape
    )
    yield from (f"{key} is complex" for key, _, its in both if its.is_complex())
    yield from (
        f"{key} is quantised"
        for key, mine, its in both
        if not its.is_complex() and its.is_floating_point() != mine.is_floating_point()
    )
