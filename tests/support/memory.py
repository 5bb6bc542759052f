"""What a piece of work takes of memory, in a process of its own; the peak counts mapped files and torch's tensors."""

import multiprocessing
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from dfml.compute.device import peak_memory_mb
from dfml.compute.optimisers import Adam
from dfml.inversion.bank import ImageBank
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.replay import replay
from dfml.metalearning.settings import ReplaySettings
from dfml.methods.heads.questions import ask
from dfml.zoo import store, union
from dfml.zoo.pool import Pool
from dfml.zoo.resident import Resident
from support.inversion import meta_generator, objective
from support.learners import encoder, generator
from support.zoo import CPU, SIDE, WAYS, random_model

Work = Callable[..., Iterator[None]]


def peaks(work: Work, *arguments: Any) -> list[float]:
    """The peak memory of a fresh process in MiB, each time that ``work(*arguments)`` yields; a function of a module."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise AssertionError("the work failed; its traceback is above") from None
    finally:
        process.join()


def _serve(pipe: Connection, work: Work, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    pipe.send([peak_memory_mb() for _ in work(*arguments)])


KEPT = 8


def ask_everyone(*zoos: Path) -> Iterator[None]:
    """Load one pool after another and ask every model two questions; eight are in memory at a time."""
    union.Resident, store.CHECKED_TOGETHER = partial(Resident, KEPT), KEPT
    images = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    for zoo in zoos:
        pool = Pool.load([zoo], label_space="global", device=CPU)
        ask(pool.models, images, statistics="stored")
        del pool
        yield


def iterate(*iterations: int) -> Iterator[None]:
    """Iterations of inversion and forty episodes of replay, as FREE goes on, yielding after so many each time."""
    models = [random_model(seed=seed, classes=torch.arange(WAYS) + WAYS * seed, dtype=torch.float32) for seed in (0, 1)]
    pool = Pool(models, [str(label) for label in range(2 * WAYS)])
    bank = ImageBank(2 * WAYS, slots=2, images_per_class=4, side=SIDE, device=CPU)
    five = meta_generator(dtype=torch.float32, steps=2)
    aim, draws, network = objective(bn_weight=0.1, crop_padding=2), generator(0), encoder()
    parameters = parameters_of(network)
    optimiser = Adam([list(parameters.values())], [1e-3])
    step = MetaStep(network, parameters, optimiser, ways=WAYS, steps=2, learning_rate=0.01, first_order=False)
    episodes = BankEpisodes(bank, pool, shots=1, queries=2)
    settings = ReplaySettings(episodes=10, max_outer=4)
    for count in iterations:
        for _ in range(count):
            for item in five.step(models, aim, images_per_class=4, generator=draws):
                bank.add(item)
            five.check()
            replay(step, episodes, settings, generator=draws)
        yield
