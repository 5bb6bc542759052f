"""One iteration of FREE on the published schedule: FIVE on four models, BELL, and the shortest replay there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.arms import Arm, Case
from benchmarks.pools import GENERATOR_WIDTH, LATENT, WAYS, published_inversion, random_pool, write_random_zoo
from benchmarks.reference.free import PublishedLoop
from benchmarks.report import run
from dfml.artefacts.base import Cell
from dfml.compute.device import configure_torch
from dfml.jobs.job import Job
from dfml.jobs.progress import NullProgress
from dfml.metalearning.inner_loop import parameters_of
from dfml.methods.base import Context
from dfml.methods.free.loop import FreeLoop
from dfml.methods.free.settings import FreeOfficialSettings
from dfml.networks.settings import NetworkSettings

MODELS = 20
# Patience is used up after eleven outer steps of ten episodes at the earliest.
OUTER_STEPS, EPISODES = 11, 10


def case(side: int, *, rounds: int = 3) -> Case:
    """The published options at one image side."""
    return Case(
        f"FREE iteration, {side} px, published options, {OUTER_STEPS} x {EPISODES} replay episodes",
        Arm("benchmarks.end_to_end:ours", {"side": side}),
        Arm("benchmarks.end_to_end:reference", {"side": side}, plain=True),
        rounds=rounds,
    )


def cases(device: str) -> Sequence[Case]:
    """32 px everywhere; 84 px, which takes a CPU minutes, on a GPU only."""
    return [case(32, rounds=3 if device == "cpu" else 5)] + ([case(84)] if device != "cpu" else [])


def free_loop(folder: Path, *, side: int, device: torch.device) -> FreeLoop:
    """FREE with the published options on a pool of random classifiers, ready for its first iteration."""
    replay = {"mode": "fixed", "max_outer": OUTER_STEPS, "episodes": EPISODES}
    options = {"iterations": 1, "five": {"warmup": 0}, "replay": replay}
    settings = FreeOfficialSettings.model_validate(options)
    zoo = write_random_zoo(folder / "zoo", MODELS, side=side)
    context = Context(
        cell=Cell("benchmark", "free_official", 1, 0),
        ways=WAYS,
        label_space="global",
        learner=NetworkSettings(family="conv4", width=32),
        access="weights",
        settings=settings,
        adapts=None,
        zoos=[zoo],
        inversion=None,
        base=None,
        images=[],
        inversion_settings=published_inversion(),
        job=Job("benchmark", torch.get_num_threads(), int(device.type == "cuda"), NullProgress()),
    )
    return FreeLoop(context, settings, parameters_of(context.new_learner(side)))


def ours(*, device: torch.device, side: int) -> Callable[[], None]:
    """An iteration of dfml's loop, its numbers read at the end."""
    tf32 = torch.backends.cudnn.allow_tf32
    with TemporaryDirectory() as folder:
        loop = free_loop(Path(folder), side=side, device=device)
    configure_torch(torch.get_num_threads(), device, tf32=tf32)  # the job has set it as a workflow's default would
    done = [0]

    def work() -> None:
        quantities = loop.iteration(done[0])
        loop.five.check()
        torch.stack(list(quantities.values())).tolist()
        done[0] += 1

    return work


def reference(*, device: torch.device, side: int) -> Callable[[], None]:
    """An iteration of the plain loop."""
    torch.manual_seed(0)
    pool = random_pool(MODELS, side=side, device=device)
    learner = random_pool(1, side=side, device=device)[0].network
    weights = [p.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for p in learner.parameters()]
    # As published: parameters of teachers ask for gradients that nobody uses, and layouts are torch's own.
    teachers = [m.network.to(memory_format=torch.contiguous_format).requires_grad_() for m in pool]
    folder = TemporaryDirectory()
    sizes = {"latent": LATENT, "width": GENERATOR_WIDTH, "side": side}
    loop = PublishedLoop(teachers, [m.class_ids for m in pool], weights, Path(folder.name), **sizes)

    def work() -> None:
        loop.iteration(outer_steps=OUTER_STEPS, episodes=EPISODES)
        assert Path(folder.name).exists()

    return work


if __name__ == "__main__":
    run("FREE end to end", cases)
