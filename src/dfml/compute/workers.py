"""Independent pieces of work side by side on the CPU cores, and private copies of modules for them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from torch import nn


T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M", bound="nn.Module")


class Abandoned(Exception):
    """Nobody waits for this piece of work any more."""


_abandoned = threading.local()


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order, computed on as many threads as torch may use.

    Small tensors gain little from several threads inside one operation; one thread per item uses the cores better.
    Inside, every operation has one thread, so a result's bits do not depend on how many items run at once. With one
    thread, and inside another call, the items run one after another in the calling thread.

    What an item changes must be its own: random generators and modules that are altered on the way are not shared.
    A long item asks :func:`still_wanted` now and then, so that an interrupted run need not wait for it.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    stop = threading.Event()
    gradients = torch.is_grad_enabled()

    def run(item: T) -> R:
        _abandoned.event = stop
        still_wanted()
        with torch.set_grad_enabled(gradients):
            return function(item)

    waiting = [_threads(threads).submit(run, item) for item in items]
    try:
        for future in waiting:
            yield future.result()
    finally:
        stop.set()
        for future in waiting:
            future.cancel()


def still_wanted() -> None:
    """Raise :class:`Abandoned` in a piece of work whose caller has stopped waiting for it."""
    event = getattr(_abandoned, "event", None)
    if event is not None and event.is_set():
        raise Abandoned


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(count)

    def start() -> None:
        # The first query of a thread copies the process-wide count. Made after the setting, it would undo it.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="dfml", initializer=start)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(count)
    return pool


_spare: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()


@contextmanager
def private_copy(module: M) -> Iterator[M]:
    """A copy of the module that no other thread uses meanwhile.

    ``functional_call`` puts other parameters into a module while it runs it, and hooks and modes are state as well;
    threads must not share that. A copy is made once and then lent again and again: its own weights are those of that
    time, so ``module`` must not be trained in place unless it is only called functionally.
    """
    # The dictionary holds copies of many modules; those under this key are of its class.
    spare = cast("list[M]", _spare.setdefault(module, []))
    try:
        own = spare.pop()
    except IndexError:
        own = copy.deepcopy(module)
    try:
        yield own
    finally:
        spare.append(own)
