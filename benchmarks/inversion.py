"""FIVE: four models inverted in five steps each, and the outer step of the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmarks.arms import Arm, Case
from benchmarks.pools import (
    GENERATOR_WIDTH,
    LATENT,
    PER_CLASS,
    WAYS,
    published_five,
    published_inversion,
    random_pool,
)
from benchmarks.reference import inversion as plain
from benchmarks.reference.zoo import classifier
from benchmarks.report import run
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import make_objective

MODELS = 4


def case(side: int, *, rounds: int = 3) -> Case:
    """The published settings at one image side."""
    width, quarter = GENERATOR_WIDTH, side // 4
    # Convolutions of enlarged pixels need 4 taps instead of 9.
    macs = LATENT * 2 * width * quarter**2 + 4 * (2 * width) ** 2 * (2 * quarter) ** 2
    macs += 4 * 2 * width * width * side**2 + 9 * width * 3 * side**2
    teacher = 9 * 32 * (3 * side**2 + 32 * sum((side // 2**block) ** 2 for block in (1, 2, 3)))
    images = MODELS * published_five().steps * WAYS * PER_CLASS
    # The largest tensors: what each layer of the generator writes and reads, forward and back.
    activations = 2 * width * quarter**2 + 3 * 2 * width * (2 * quarter) ** 2 + 3 * width * side**2
    return Case(
        f"inversion of {MODELS} Conv4 x 5 steps, {side} px, generator {width} wide",
        Arm("benchmarks.inversion:ours", {"side": side}),
        Arm("benchmarks.inversion:reference", {"side": side}, plain=True),
        rounds=rounds,
        flops=2 * images * (3 * macs + 2 * teacher),
        bytes=4 * images * 3 * 2 * activations,
    )


def cases(device: str) -> Sequence[Case]:
    """32 px everywhere; 84 px, which takes a CPU minutes, on a GPU only."""
    return [case(32)] + ([case(84)] if device != "cpu" else [])


def ours(*, device: torch.device, side: int) -> Callable[[], None]:
    """Dfml's step on the same four models every time."""
    settings = published_inversion()
    generator = draw_generator(settings, side, torch.Generator().manual_seed(0), law="default")
    five = MetaGenerator(generator.to(device), settings.five)
    models = list(random_pool(MODELS, side=side, device=device))
    objective = make_objective(settings, ce_weight=1.0, bn_weight=0.0)
    draws = torch.Generator().manual_seed(0)

    def work() -> None:
        five.step(models, objective, images_per_class=PER_CLASS, generator=draws)
        five.check()

    return work


def reference(*, device: torch.device, side: int) -> Callable[[], None]:
    """The plain loop on four classifiers of the same size."""
    torch.manual_seed(0)
    generator = plain.Upsampler(LATENT, GENERATOR_WIDTH, side).to(device)
    teachers = [classifier(32, WAYS, side).to(device).eval() for _ in range(MODELS)]

    def work() -> None:
        plain.step(generator, teachers, latent=LATENT, ways=WAYS, per_class=PER_CLASS, steps=5, rate=1e-3)

    return work


if __name__ == "__main__":
    run("Inversion", cases)
