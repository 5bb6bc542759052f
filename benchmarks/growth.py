"""How the cost of dfml's own paths grows: with tasks, image side, ways, shots, models in the pool, cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import episodes, workflow
from benchmarks.arms import Arm, time_alone
from benchmarks.pools import PER_CLASS, published_inversion, write_random_zoo
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import make_objective
from dfml.inversion.sampling import ModelSampler
from dfml.zoo.pool import Pool


def series(device: str) -> Iterator[tuple[str, Any, Arm, int, str]]:
    """What varies, its value, the work, the units that the time is divided by, and their name."""
    for tasks in (1, 2, 5, 10, 20):
        yield "tasks per step", tasks, episodes.case(32, episodes=tasks).ours, tasks, "episode"
    for side in (28, 32, 48, 64, 84):
        yield "image side", side, episodes.case(side, episodes=4).ours, 4, "episode"
    for ways in (2, 5, 10, 20):
        yield "ways", ways, episodes.case(32, ways=ways, episodes=4).ours, 4, "episode"
    for shots in (1, 5, 10):
        yield "shots", shots, episodes.case(32, shots=shots, episodes=4).ours, 4, "episode"
    for models in (10, 100, 1000):
        yield "models in the pool: load", models, Arm("benchmarks.growth:loading", {"models": models}), 1, "pool"
        yield "models in the pool: invert 4", models, Arm("benchmarks.growth:inverting", {"models": models}), 1, "step"
    for jobs in (300, 1000, 3000):
        yield "jobs planned", jobs, workflow.case(jobs).ours, 1, "plan"


def loading(*, device: torch.device, models: int) -> Callable[[], None]:
    """Reading a zoo from disk onto the device."""
    folder = TemporaryDirectory()
    zoo = write_random_zoo(Path(folder.name), models, side=32)

    def work() -> None:
        assert Path(folder.name).exists()
        Pool.load([zoo], label_space="global", device=device)

    return work


def inverting(*, device: torch.device, models: int) -> Callable[[], None]:
    """A step of FIVE on four models of a pool, with a narrow generator so that the pool could matter."""
    settings = published_inversion().model_copy(update={"width": 16})
    with TemporaryDirectory() as folder:
        pool = Pool.load([write_random_zoo(Path(folder), models, side=32)], label_space="global", device=device)
    generator = draw_generator(settings, 32, torch.Generator().manual_seed(0), law="default")
    five = MetaGenerator(generator.to(device), settings.five)
    sampler = ModelSampler(pool, settings.five, 0)
    objective = make_objective(settings, ce_weight=1.0, bn_weight=0.0)
    draws, done = torch.Generator().manual_seed(0), [0]

    def work() -> None:
        five.step(sampler.draw(done[0]), objective, images_per_class=PER_CLASS, generator=draws)
        five.check()
        done[0] += 1

    return work


def measure_all(device: str, threads: int, *, tf32: bool = False) -> list[dict[str, Any]]:
    """Time every point of every series and show them."""
    results = []
    shown = Table(title="Growth", title_justify="left")
    for heading in ("what varies", "value", "ms", "per"):
        shown.add_column(heading)
    for name, value, arm, units, unit in series(device):
        taken = time_alone(arm, device, threads, units=units, tf32=tf32)
        results.append({"name": f"{name} = {value}", "ours_ms": taken, "per": unit})
        shown.add_row(name, str(value), f"{taken:.4g}", unit)
    Console(width=100).print(shown)
    return results
