"""Repeated work as CUDA graphs: launched whole instead of kernel by kernel.

On a GPU the networks here are so small that launching their kernels takes longer than running them. A function that
always does the same on tensors in the same place is recorded once and then replayed. On a CPU it is simply called, with
the same numbers up to rounding.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

log = logging.getLogger(__name__)

R = TypeVar("R")

# Calls that are run as they are before one is recorded: libraries initialise themselves and choose algorithms.
WARM_UP = 3


class Recording(Generic[R]):
    """A function without arguments that is recorded after a few calls and replayed from then on.

    It must always launch the same work on the same tensors, wait for nothing on the host and change no Python state.
    What it returns lives at the same place at every call: copy it before the next one.

    Args:
        function: what is to be done.
        device: where; on a CPU nothing is recorded.
        stream: where to queue it; by default the current stream of each call. On a stream of its own, the caller
            orders it with other work (see :func:`overlapped`).
    """

    def __init__(
        self, function: Callable[[], R], device: torch.device, stream: torch.cuda.Stream | None = None
    ) -> None:
        self._function, self._device, self._stream = function, device, stream
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: R | None = None
        self._refused = False

    def __call__(self) -> R:
        """Do it, in stream order."""
        if self._device.type != "cuda":
            return self._function()
        if self._graph is None and self._calls >= WARM_UP and not self._refused:
            self._record()
        self._calls += 1
        stream = self._stream or torch.cuda.current_stream(self._device)
        if self._graph is not None:
            with torch.cuda.stream(stream):
                self._graph.replay()
            return cast(R, self._result)
        with torch.cuda.stream(stream):
            return self._function()

    def _record(self) -> None:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        torch.cuda.synchronize(self._device)
        try:
            with _no_collection(), torch.cuda.graph(graph, stream=self._stream):
                self._result = self._function()
        except RuntimeError as error:
            # Slower, but right: some operation cannot be recorded with this driver or library.
            log.warning("not recorded as a CUDA graph, running step by step: %s", error)
            self._refused = True
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own stream the current one
            torch.cuda.synchronize(self._device)
            return
        self._graph = graph


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from freeing another recording, which would break the one that is being made."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class Recorded:
    """A function of tensors, recorded once for each combination of their shapes and types.

    The function gets tensors that stay at one place; arguments are copied there before each call, and its results are
    copied out. It must do as :class:`Recording` says.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        device: torch.device,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        self._function, self._device, self._stream = function, device, stream
        self._known: dict[tuple, tuple[list[Tensor], Recording[tuple[Tensor, ...]]]] = {}

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The function's results for ``arguments``."""
        if self._device.type != "cuda":
            return self._function(*arguments)
        key = tuple((a.shape, a.dtype) for a in arguments)
        stream = self._stream or torch.cuda.current_stream(self._device)
        with torch.cuda.stream(stream):
            if key not in self._known:
                fixed = [torch.empty_like(a) for a in arguments]
                self._known[key] = fixed, Recording(lambda: self._function(*fixed), self._device, self._stream)
            fixed, recording = self._known[key]
            torch._foreach_copy_(fixed, list(arguments))
            return tuple(result.clone() for result in recording())


def overlapped(calls: Sequence[Callable[[], R]], streams: Sequence[torch.cuda.Stream | None]) -> list[R]:
    """The results of ``calls``, each queued on its own stream; the current stream waits for all of them.

    On a CPU, where streams are None, they are called one after another.
    """
    if not streams or streams[0] is None:
        return [call() for call in calls]
    current = torch.cuda.current_stream(streams[0].device)
    ready = current.record_event()
    results = []
    for call, stream in zip(calls, streams, strict=False):
        assert stream is not None
        stream.wait_event(ready)
        with torch.cuda.stream(stream):
            results.append(call())
    for stream in streams[: len(calls)]:
        assert stream is not None
        current.wait_stream(stream)
    return results
