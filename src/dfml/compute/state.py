"""What of a thing moves while it works: collected for a resume file, and put back where it was.

A class names once what of it moves. ``MOVES`` are attributes that keep their form: tensors of one shape, modules,
generators, numbers, objects that name theirs, and dicts, lists and tuples of these. ``GROWS`` are tensors and lists
that another run may have left larger or smaller. A subclass names only what it adds.
"""

from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))


def collect(thing: Any) -> Any:
    """The state of ``thing``: nested dicts, lists and tuples of tensors and plain values.

    Tensors are those of the thing itself, not copies: whoever wants to keep them over its next step copies them.

    Raises:
        TypeError: some part does not say what of it moves.
    """
    if type(thing) in _PLAIN:
        return thing
    if isinstance(thing, Tensor):
        return thing.detach()
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, nn.Module):
        return dict(thing.state_dict())
    if isinstance(thing, dict):
        return {key: collect(item) for key, item in thing.items()}
    if isinstance(thing, list | tuple):
        items = [collect(item) for item in thing]
        return items if isinstance(thing, list) else tuple(items)
    return {name: collect(getattr(thing, name)) for name in _named(thing, "MOVES") + _named(thing, "GROWS")}


@torch.no_grad()
def restore(thing: Any, state: Any) -> None:
    """Bring ``thing`` to a state that :func:`collect` gave of one made alike.

    Tensors are overwritten in place: they may be parameters of an optimiser, views, or what a recorded loop reads. One
    that grows is replaced by a copy where its shape differs, on the device it was on; tensors in a list that grows
    stay on the device that the state lies on. Generators are set.

    Raises:
        ValueError: a part is missing, unknown, or of another form; the message says which.
        TypeError: some part does not say what of it moves, or nothing of the thing can be changed in place.
    """
    if _put(thing, state, "state") is not thing:
        raise TypeError(f"a {type(thing).__name__} cannot be changed in place")


def _named(thing: Any, what: str) -> tuple[str, ...]:
    """The names that the class of ``thing`` and its bases list under ``what``, those of the bases first."""
    lines = type(thing).__mro__
    if not any("MOVES" in vars(line) or "GROWS" in vars(line) for line in lines):
        raise TypeError(f"{type(thing).__name__} does not say what of it moves: it has neither MOVES nor GROWS")
    return tuple(dict.fromkeys(name for line in reversed(lines) for name in vars(line).get(what, ())))


def _put(own: Any, state: Any, where: str) -> Any:
    """Bring ``own`` to ``state``; what is to stand in its place, which is itself unless it is a plain value."""
    if type(own) in _PLAIN:
        if type(state) not in _PLAIN:
            raise ValueError(f"{where} is a {type(state).__name__}, not a plain value")
        return state
    if isinstance(own, Tensor):
        _demand(where, state, own.dtype, own.shape)
        return own.copy_(state)
    if isinstance(own, torch.Generator):
        now = own.get_state()
        _demand(where, state, now.dtype, now.shape)
        return own.set_state(state)
    if isinstance(own, nn.Module):
        _put(dict(own.state_dict()), state, where)  # tensors that share the module's memory
        return own
    if isinstance(own, dict):
        _demand_parts(where, state, own)
        for key, item in own.items():
            own[key] = _put(item, state[key], f"{where}[{key!r}]")
        return own
    if isinstance(own, list | tuple):
        if not isinstance(state, list | tuple) or len(state) != len(own):
            raise ValueError(f"{where} is not a list of {len(own)} parts")
        items = [_put(item, given, f"{where}[{i}]") for i, (item, given) in enumerate(zip(own, state, strict=True))]
        if isinstance(own, list):
            own[:] = items
            return own
        return own if all(a is b for a, b in zip(own, items, strict=True)) else tuple(items)
    moves, grows = _named(own, "MOVES"), _named(own, "GROWS")
    _demand_parts(where, state, (*moves, *grows))
    for names, put in ((moves, _put), (grows, _regrow)):
        for name in names:
            held = getattr(own, name)
            new = put(held, state[name], f"{where}.{name}")
            if new is not held:
                setattr(own, name, new)
    return own


def _regrow(own: Any, state: Any, where: str) -> Any:
    """As :func:`_put`, of a tensor whose sizes or a list whose length may differ."""
    if isinstance(own, list):
        if not isinstance(state, list):
            raise ValueError(f"{where} is a {type(state).__name__}, not a list")
        own[:] = [_copied(item) for item in state]
        return own
    _demand(where, state, own.dtype)
    if state.shape == own.shape:
        return own.copy_(state)
    if state.ndim != own.ndim:
        raise ValueError(f"{where} has the shape {list(state.shape)}, which {list(own.shape)} cannot grow to")
    return state.to(own.device, copy=True)


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _copied(item) for key, item in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(item) for item in state)
    return state


def _demand(where: str, state: Any, dtype: torch.dtype, shape: torch.Size | None = None) -> None:
    if not isinstance(state, Tensor):
        raise ValueError(f"{where} is a {type(state).__name__}, not a tensor")
    # A learning rate is float64 on a CPU and float32 on a GPU; a run may be taken up on the other.
    if state.dtype != dtype and not (state.is_floating_point() and dtype.is_floating_point):
        raise ValueError(f"{where} is of {state.dtype}, not of {dtype}")
    if shape is not None and state.shape != shape:
        raise ValueError(f"{where} has the shape {list(state.shape)}, not {list(shape)}")


def _demand_parts(where: str, state: Any, names: Any) -> None:
    if not isinstance(state, dict) or state.keys() != set(names):
        found = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{where} must have the parts {sorted(map(str, names))}; it has {found}")
