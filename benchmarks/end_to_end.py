"""One iteration of FREE on the published schedule: FIVE on four models, BELL, and the shortest replay there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.arms import Arm, Case
from benchmarks.draws import FreeDraws
from benchmarks.inversion import Work, published_teachers, upsampler
from benchmarks.pools import GENERATOR_WIDTH, WAYS, WIDTH, published_inversion, random_pool, write_random_zoo
from benchmarks.reference.free import PublishedLoop
from benchmarks.report import run
from dfml.artefacts.base import Cell
from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.device import configure_torch
from dfml.compute.seeds import torch_generator
from dfml.inversion.inner_steps import draw_generator
from dfml.jobs.job import Job
from dfml.jobs.progress import NullProgress
from dfml.methods.base import Context
from dfml.methods.free.loop import FreeLoop
from dfml.methods.free.settings import FreeOfficialSettings
from dfml.networks.build import build_network
from dfml.networks.settings import LearnerSettings

MODELS, SEED, SHOTS = 20, 0, 1
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


def effective(weights: Sequence[Tensor]) -> Tensor:
    """All weights in a row, without the biases of convolutions, which batch norm takes away."""
    biases = range(1, 16, 4)
    return torch.cat([w.detach().flatten() for i, w in enumerate(weights) if i not in biases])


def free_loop(
    folder: Path, *, device: torch.device, side: int, width: int, generator_width: int, outer_steps: int, episodes: int
) -> FreeLoop:
    """FREE with the published options on a pool of random classifiers, ready for its first iteration."""
    replay = {"mode": "fixed", "max_outer": outer_steps, "episodes": episodes}
    options = {"iterations": 1, "five": {"warmup": 0}, "replay": replay}
    settings = FreeOfficialSettings.model_validate(options)
    zoo = write_random_zoo(folder / "zoo", MODELS, side=side, width=width)
    context = Context(
        cell=Cell("benchmark", "free_official", SHOTS, SEED),
        ways=WAYS,
        label_space="global",
        learner=LearnerSettings(family="conv4", width=width),
        access="weights",
        settings=settings,
        adapts=None,
        zoos=[zoo],
        inversion=None,
        base=None,
        images=[],
        inversion_settings=published_inversion(generator_width),
        job=Job("benchmark", torch.get_num_threads(), int(device.type == "cuda"), NullProgress()),
    )
    return FreeLoop(context, settings, context.new_learner(side))


def ours(
    *,
    device: torch.device,
    side: int,
    width: int = WIDTH,
    generator_width: int = GENERATOR_WIDTH,
    outer_steps: int = OUTER_STEPS,
    episodes: int = EPISODES,
) -> Work:
    """An iteration of dfml's loop, its numbers read at the end; returns the learner's weights."""
    tf32 = torch.backends.cudnn.allow_tf32
    sizes = {"width": width, "generator_width": generator_width, "outer_steps": outer_steps, "episodes": episodes}
    with TemporaryDirectory() as folder:
        loop = free_loop(Path(folder), device=device, side=side, **sizes)
    configure_torch(torch.get_num_threads(), device, tf32=tf32)  # the job has set it as a workflow's default would
    done = [0]

    def work() -> Tensor:
        quantities = loop.iteration(done[0])
        loop.five.check()
        for value in quantities.values():
            float(value)  # some are on the device, some are not
        done[0] += 1
        return effective(list(loop.parameters.values()))

    return work


def reference(
    *,
    device: torch.device,
    side: int,
    width: int = WIDTH,
    generator_width: int = GENERATOR_WIDTH,
    outer_steps: int = OUTER_STEPS,
    episodes: int = EPISODES,
) -> Work:
    """An iteration of the plain loop from the same start with the same random choices; returns the same weights."""
    pool = random_pool(MODELS, side=side, device=device, width=width)
    spec = NetworkSpec(family="conv4", width=width, ways=WAYS, side=side)
    learner = build_network(spec, generator=torch_generator(SEED, "learner"), episodic=True).to(device)
    settings = published_inversion(generator_width)
    generator = draw_generator(settings, side, torch_generator(SEED, "free", "generator"), law="default")
    draws = FreeDraws(
        pool, settings.five, seed=SEED, shots=SHOTS, slots=settings.slots, per_class=settings.images_per_class
    )
    folder = TemporaryDirectory()
    loop = PublishedLoop(
        published_teachers(pool),
        [model.class_ids for model in pool],
        [p.detach().clone().requires_grad_() for p in learner.parameters()],
        upsampler(generator).to(device),
        Path(folder.name),
        draws,
    )

    def work() -> Tensor:
        loop.iteration(outer_steps=outer_steps, episodes=episodes, shots=SHOTS)
        assert Path(folder.name).exists()
        return effective(loop.weights)

    return work


if __name__ == "__main__":
    run("FREE end to end", cases)
