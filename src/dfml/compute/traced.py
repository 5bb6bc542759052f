"""Functions of tensors without Python in between: what a recorded CUDA graph is on a GPU, on a CPU.

A network of a few thousand weights has operations of some ten microseconds, and Python takes as long to start one. It
also keeps the other threads waiting meanwhile. A traced function runs its operations one after another in C++, and
computes the same bits.

TorchScript, which does it, is old: its authors advise ``torch.compile``, which needs a C++ compiler on every machine,
or ``torch.export``, whose result runs in Python again. Where a torch has it no longer, the function is simply called.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# Tracing takes as long as some hundred calls, so a function that is called a few times is not traced.
CALLS_BEFORE = 8

_one_at_a_time = threading.Lock()


class Traced:
    """A function of tensors and nested tuples of them, traced once for every form of its arguments.

    For work on a CPU without autograd. It must depend on shapes, types and options alone, never on values, and change
    none of its arguments.

    Args:
        function: what is to be done; returns tensors or nested tuples of them, named or not. Named tuples come back
            plain.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls: dict[Any, int] = {}
        self._known: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The function's result; ``options`` are plain values."""
        key = (_form(arguments), tuple(options.items()))
        known = self._known.get(key)
        if known is not None:
            return known(*arguments)
        with _one_at_a_time:
            calls = self._calls[key] = self._calls.get(key, 0) + 1
            if calls > CALLS_BEFORE and key not in self._known:
                self._known[key] = self._trace(arguments, options)
        return self._function(*arguments, **options)

    def _trace(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        def function(*given: Any) -> Any:
            return self._function(*given, **options)

        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                return torch.jit.trace(function, _plain(arguments), check_trace=False)
        except (AttributeError, RuntimeError) as error:
            log.warning("not traced, running operation by operation: %s", error)
            return function


def _plain(argument: Any) -> Any:
    return argument if isinstance(argument, Tensor) else tuple(map(_plain, argument))


def _form(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.shape, argument.stride(), argument.dtype
    return tuple(map(_form, argument))
