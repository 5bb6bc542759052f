"""What zoos of many models cost: seconds and peak memory of all that is done with one, by its number of models.

Their networks have random weights, on which neither depends.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from benchmarks.arms import Arm, once
from benchmarks.pools import CLASSES, PER_CLASS, WAYS, published_inversion, write_random_zoo
from dfml.artefacts.provenance import Provenance
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.zoo import MANIFEST, WEIGHTS, NetworkSpec
from dfml.cli.tools import Output
from dfml.cli.verify import examine
from dfml.cli.zoo import show
from dfml.compute.optimisers import Adam
from dfml.compute.placement import to_device
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import make_objective
from dfml.inversion.sampling import ModelSampler
from dfml.jobs.provenance import digests, receipts_folder
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.methods.heads.distillation import HeadsDistillation
from dfml.methods.heads.questions import Questions, ask, ask_some, draw_asked
from dfml.methods.heads.settings import HeadsSettings
from dfml.networks.build import build_network
from dfml.zoo.pool import Pool

SIZES = (100, 1000, 10_000)
SHELF = "large"
SIDE, WIDTH = 32, 8
SPEC = NetworkSpec(family="conv4", width=WIDTH, ways=WAYS, side=SIDE)
SOME = 100
ASKED, TAUGHT = 128, 2048
STEPS = 10


def series(folder: Path, models: int) -> Iterator[tuple[str, Arm, int, str]]:
    """What is done with a zoo of so many models, the work, the units that the time is divided by, and their name."""

    def arm(function: str, **options: Any) -> Arm:
        return Arm(f"benchmarks.large:{function}", {"folder": str(folder), **options})

    yield "dfml zoo show", arm("showing"), 1, "zoo"
    yield "dfml verify, after its planning", arm("verifying"), 1, "zoo"
    yield "loading a pool", arm("loading"), 1, "pool"
    yield f"asking all models {ASKED} questions", arm("asking", count=None), models, "model"
    yield f"asking {SOME} models each of {ASKED} questions", arm("asking", count=SOME), models, "model"
    yield f"distilling {TAUGHT} answers of all models", arm("distilling", models=models, count=None), STEPS, "step"
    name = f"distilling {TAUGHT} answers of {SOME} models"
    yield name, arm("distilling", models=models, count=SOME), STEPS, "step"
    yield "inverting, 4 models a step", arm("inverting"), STEPS, "step"
    yield "replay, 10 episodes a step", arm("replaying"), STEPS, "step"


def write_shelf(folder: Path, models: int) -> None:
    """A zoo with its receipt in ``folder``, as the workflow keeps it."""
    zoo = zoo_in(folder)
    write_random_zoo(zoo, models, side=SIDE, width=WIDTH)
    with contextlib.chdir(folder):
        nowhere = Provenance(git_commit=None, versions={}, host="", device=None)
        receipt = Receipt(**nowhere.fields_of(Provenance), outputs=digests(_outputs()))
        receipt.save(receipts_folder(SHELF) / "train_zoo.json")


def zoo_in(folder: Path) -> Path:
    """Where the zoo is."""
    return folder / "results" / SHELF / "zoo"


def _outputs() -> list[str]:
    return [(zoo_in(Path()) / name).as_posix() for name in (WEIGHTS, MANIFEST)]


def _pool(folder: str, device: torch.device) -> Pool:
    return Pool.load([zoo_in(Path(folder))], label_space="global", device=device)


def showing(*, device: torch.device, folder: str) -> Callable[[], None]:
    """``dfml zoo show``, to a terminal that nobody looks at."""

    def work() -> None:
        show(Console(file=io.StringIO(), width=120), zoo_in(Path(folder)))

    return work


def verifying(*, device: torch.device, folder: str) -> Callable[[], None]:
    """``dfml verify`` but for Snakemake's planning, which knows files and no models."""

    def work() -> None:
        with contextlib.chdir(folder):
            outputs = [Output(path, "train_zoo", pending=False) for path in _outputs()]
            assert not examine(outputs, Path("results", SHELF))

    return work


def loading(*, device: torch.device, folder: str) -> Callable[[], None]:
    """Reading and checking a zoo as a method's pool."""

    def work() -> None:
        _pool(folder, device)

    return work


def asking(*, device: torch.device, folder: str, count: int | None) -> Callable[[], None]:
    """All models of a pool, or ``count`` for each question, and keeping the answers."""
    pool, draws = _pool(folder, device), torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (ASKED, 3, SIDE, SIDE), dtype=torch.uint8, generator=draws).to(device)

    def work() -> None:
        if count is None:
            ask(pool.models, images, statistics="stored")
        else:
            who = draw_asked(ASKED, len(pool), count, draws)
            ask_some(pool.models, images, who, statistics="stored")

    return work


def distilling(*, device: torch.device, folder: str, models: int, count: int | None) -> Callable[[], None]:
    """Steps on made-up answers of all models, or of ``count`` for each question."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (TAUGHT, 3, SIDE, SIDE), dtype=torch.uint8, generator=draws).to(device)
    half = torch.full((TAUGHT, 3), 0.5, device=device)
    distillation = HeadsDistillation(
        to_device(build_network(SPEC, generator=draws, episodic=True), device),
        Questions(images, half, half / 2),
        torch.randn(count or models, TAUGHT, WAYS, generator=draws).to(device),
        HeadsSettings(steps=STEPS),
        who=None if count is None else draw_asked(TAUGHT, models, count, draws),
        models=models,
        generator=draws,
    )

    def work() -> None:
        for _ in range(STEPS):
            distillation.step()

    return work


def inverting(*, device: torch.device, folder: str) -> Callable[[], None]:
    """Steps of FIVE on models drawn from the pool, whose images go into a bank; the generator is a narrow one."""
    settings = published_inversion(width=WIDTH)
    pool, draws = _pool(folder, device), torch.Generator().manual_seed(0)
    bank = ImageBank(CLASSES, slots=2, images_per_class=PER_CLASS, side=SIDE, device=device)
    network = draw_generator(settings, SIDE, draws, law="default")
    five = MetaGenerator(network.to(device), settings.five)
    sampler = ModelSampler(pool, settings.five, 0)
    objective = make_objective(settings, ce_weight=1.0, bn_weight=1.0)

    def work() -> None:
        for step in range(STEPS):
            models = sampler.draw(step)
            for item in five.step(models, objective, images_per_class=PER_CLASS, generator=draws):
                bank.add(item)
        five.check()

    return work


def replaying(*, device: torch.device, folder: str) -> Callable[[], None]:
    """Outer steps of MAML on a bank that holds all classes."""
    pool, draws = _pool(folder, device), torch.Generator().manual_seed(0)
    bank = ImageBank(CLASSES, slots=1, images_per_class=PER_CLASS, side=SIDE, device=device)
    bank.pixels.random_(0, 256)
    bank.sources.zero_()
    bank.written += 1
    network = to_device(build_network(SPEC, generator=draws, episodic=True), device)
    parameters = parameters_of(network)
    optimiser = Adam([list(parameters.values())], [1e-3])
    step = MetaStep(network, parameters, optimiser, ways=WAYS, steps=5, learning_rate=0.01, first_order=False)
    episodes = BankEpisodes(bank, pool, shots=1, queries=15)

    def work() -> None:
        for _ in range(STEPS):
            step(*episodes.draw(10, ways=WAYS, generator=draws))

    return work


def measure_all(device: str, threads: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure everything once at every size, each in a process of its own, and say how it went."""
    console, results = Console(width=120), []
    for models in sizes:
        with TemporaryDirectory() as folder:
            write_shelf(Path(folder), models)
            for name, arm, units, unit in series(Path(folder), models):
                seconds, memory = once(arm, device, threads)
                row = {"name": f"{name}: {models}", "ours_ms": 1000 * seconds / units, "per": unit}
                results.append({**row, "seconds": seconds, "peak_memory_mb": memory})
                console.print(f"{row['name']}: {row['ours_ms']:.4g} ms per {unit}, {memory:.0f} MB")
    return results
