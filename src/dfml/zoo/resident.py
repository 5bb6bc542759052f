"""Networks of a pool in memory: as many as were asked last; any other is read again when it is asked."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Generic, TypeVar, overload
from weakref import WeakValueDictionary

from torch import nn

from dfml.zoo.access import GradientsOnly

T_co = TypeVar("T_co", covariant=True)
Network = nn.Module | GradientsOnly
Source = Callable[[], Network]
"""Gives a network, the same object as long as anybody holds it."""

MOST_RESIDENT = 256
"""Networks that a pool keeps. A pool of no more than these has all of them in memory from the start."""


class OnDisk(Sequence[T_co], Generic[T_co]):
    """Things on disk, each made anew whenever it is taken out; ``make`` is given its position."""

    def __init__(self, count: int, make: Callable[[int], T_co]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T_co]:
        return map(self._make, range(self._count))

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...

    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        chosen = range(self._count)[index]
        return self._make(chosen) if isinstance(chosen, int) else [self._make(i) for i in chosen]


class Resident:
    """The networks that are kept, shared by all threads.

    Args:
        most: how many are kept beside those that somebody holds.
    """

    def __init__(self, most: int = MOST_RESIDENT) -> None:
        self._most = most
        self._makers: list[Source] = []
        self._recent: OrderedDict[int, Network] = OrderedDict()
        self._held: WeakValueDictionary[int, Network] = WeakValueDictionary()
        self._lock = Lock()

    def source(self, make: Source) -> Source:
        """Where the network that ``make`` makes is had; made at once while there is room."""
        key = len(self._makers)
        self._makers.append(make)
        if key < self._most:
            self._get(key)
        return partial(self._get, key)

    def _get(self, key: int) -> Network:
        with self._lock:
            network = self._held.get(key)
            if network is None:
                network = self._held[key] = self._makers[key]()
            self._recent[key] = network
            self._recent.move_to_end(key)
            if len(self._recent) > self._most:
                self._recent.popitem(last=False)
            return network
