"""Two ways to do the same thing, each in a process of its own, timed in turns.

A process of its own gives each arm its own allocator and thread settings; taking turns, both meet the same machine.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch

from dfml.compute.capture import WARM_UP
from dfml.compute.device import configure_torch, describe_device, peak_memory_mb
from dfml.compute.workers import side_by_side


@dataclass(frozen=True)
class Arm:
    """What an arm runs: a function that prepares the work and returns it as a function without arguments.

    Attributes:
        target: ``module:function`` with parameters ``device`` and those of ``options``. What it returns is timed; a
            number or tensor that the work returns is compared between the arms.
        options: further arguments, plain values.
        plain: run with torch as it comes, without the settings that dfml makes.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False


@dataclass(frozen=True)
class Case:
    """One comparison; times are divided by ``units`` (episodes, models, …).

    ``flops`` and ``bytes`` are the operations and the memory traffic that one unit cannot do without.
    """

    name: str
    ours: Arm
    reference: Arm
    units: int = 1
    rounds: int = 5
    flops: float | None = None
    bytes: float | None = None


def measure(case: Case, device: str, threads: int, *, tf32: bool = False) -> dict[str, Any]:
    """Time both arms of a case in turns; ``tf32`` is :func:`configure_torch`'s, for the arm that is not plain.

    Returns:
        Medians and extremes in ms per unit, the ratio reference / ours pair by pair, how far the results of the second
        run differ (it starts from where the first one moved the parameters), and the peak memory of each arm.
    """
    common = (device, threads, tf32)
    with _Process(case.ours, *common) as ours, _Process(case.reference, *common) as reference:
        second = [[arm.run() for _ in range(2)][1] for arm in (ours, reference)]
        for _ in range(WARM_UP if device != "cpu" else 0):
            ours.run()
        pairs = [(ours.run()[0], reference.run()[0]) for _ in range(case.rounds)]
        memory = [arm.peak_memory() for arm in (ours, reference)]
        described = ours.described
    scale = 1000 / case.units
    mine, theirs = ([pair[i] * scale for pair in pairs] for i in (0, 1))
    ratios = [b / a for a, b in pairs]
    return {
        "name": case.name,
        "ours_ms": median(mine),
        "ours_ms_range": [min(mine), max(mine)],
        "reference_ms": median(theirs),
        "reference_ms_range": [min(theirs), max(theirs)],
        "ratio": median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "difference": _difference(second[0][1], second[1][1]),
        "peak_memory_mb": memory,
        "rounds": case.rounds,
        "units": case.units,
        "flops": case.flops,
        "bytes": case.bytes,
        "device": described,
    }


def time_alone(
    arm: Arm, device: str, threads: int, *, units: int = 1, seconds: float = 2.0, tf32: bool = False
) -> float:
    """Median ms per unit of one arm by itself, over at least three runs and ``seconds``, after it has warmed up."""
    with _Process(arm, device, threads, tf32) as process:
        for _ in range(WARM_UP + 2):
            process.run()
        taken: list[float] = []
        while len(taken) < 3 or sum(taken) < seconds:
            taken.append(process.run()[0])
    return median(taken) * 1000 / units


def once(arm: Arm, device: str, threads: int) -> tuple[float, float]:
    """A single run of an arm, without warming up: seconds of the CPU, and the peak memory of its process in MiB.

    Other work on the machine leaves seconds of the CPU nearly as they are; threads add theirs up.
    """
    with _Process(arm, device, threads, tf32=False) as process:
        before = process.cpu_seconds()
        process.run()
        return process.cpu_seconds() - before, process.peak_memory()


def _difference(a: list[float] | None, b: list[float] | None) -> float | None:
    """‖a − b‖ / ‖b‖ of what the arms returned; None where they return nothing to compare."""
    if a is None or b is None or len(a) != len(b):
        return None
    mine, theirs = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    return float((mine - theirs).norm() / theirs.norm())


class _Process:
    def __init__(self, arm: Arm, device: str, threads: int, tf32: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, arm, device, threads, tf32), daemon=True)
        self._process.start()
        theirs.close()
        self.described = self._answer()

    def run(self) -> tuple[float, list[float] | None]:
        self._pipe.send("run")
        return self._answer()

    def peak_memory(self) -> float:
        self._pipe.send("memory")
        return self._answer()

    def cpu_seconds(self) -> float:
        self._pipe.send("cpu")
        return self._answer()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("an arm of the benchmark failed; its traceback is above") from None

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(timeout=20)
        self._process.kill()


def _serve(pipe: Connection, arm: Arm, name: str, threads: int, tf32: bool) -> None:
    device = torch.device(name)
    if arm.plain:
        torch.set_num_threads(threads)
    else:
        configure_torch(threads, device, tf32=tf32)
        list(side_by_side(lambda item: item, range(threads)))
    module, function = arm.target.split(":")
    work: Callable[[], Any] = getattr(importlib.import_module(module), function)(device=device, **arm.options)
    pipe.send(describe_device(device))
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        if asked == "memory":
            pipe.send(peak_memory_mb(device))
            continue
        if asked == "cpu":
            pipe.send(time.process_time())
            continue
        _wait(device)
        start = time.perf_counter()
        result = work()
        _wait(device)
        seconds = time.perf_counter() - start
        pipe.send((seconds, None if result is None else torch.as_tensor(result).flatten().double().tolist()))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
