"""FIVE: four models inverted in five steps each, and the outer step of the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.arms import Arm, Case
from benchmarks.draws import InversionDraws
from benchmarks.pools import (
    GENERATOR_WIDTH,
    LATENT,
    PER_CLASS,
    WAYS,
    WIDTH,
    published_five,
    published_inversion,
    random_pool,
)
from benchmarks.reference import inversion as plain
from benchmarks.report import run
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import make_objective
from dfml.inversion.settings import InversionSettings
from dfml.inversion.together import CANDIDATES
from dfml.networks.generator import Generator
from dfml.zoo.pool import Pool

MODELS = 4

Work = Callable[[], Tensor]


def case(side: int, *, rounds: int = 3) -> Case:
    """The published settings at one image side."""
    width, quarter = GENERATOR_WIDTH, side // 4
    # Convolutions of enlarged pixels need 4 taps instead of 9.
    macs = LATENT * 2 * width * quarter**2 + 4 * (2 * width) ** 2 * (2 * quarter) ** 2
    macs += 4 * 2 * width * width * side**2 + 9 * width * 3 * side**2
    teacher = 9 * WIDTH * (3 * side**2 + WIDTH * sum((side // 2**block) ** 2 for block in (1, 2, 3)))
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


def ours(
    *,
    device: torch.device,
    side: int,
    width: int = WIDTH,
    generator_width: int = GENERATOR_WIDTH,
    form: str | None = None,
) -> Work:
    """Dfml's step on the same four models every time; returns an image of every class of each.

    In one of the ``CANDIDATES`` of :mod:`dfml.inversion.together`, by default as a job does it.
    """
    settings = published_inversion(generator_width)
    chosen = CANDIDATES[form] if form else None
    five = MetaGenerator(_generator(settings, side).to(device), settings.five, chosen)
    models = list(random_pool(MODELS, side=side, device=device, width=width))
    objective = make_objective(settings, ce_weight=1.0, bn_weight=0.0)
    draws = torch.Generator().manual_seed(0)

    def work() -> Tensor:
        recovered = five.step(models, objective, images_per_class=PER_CLASS, generator=draws)
        five.check()
        return torch.stack([found.images[:WAYS] for found in recovered])

    return work


def reference(*, device: torch.device, side: int, width: int = WIDTH, generator_width: int = GENERATOR_WIDTH) -> Work:
    """The plain loop with the same generator, models and random choices; returns the same images."""
    generator = upsampler(_generator(published_inversion(generator_width), side)).to(device)
    teachers = published_teachers(random_pool(MODELS, side=side, device=device, width=width))
    draws = InversionDraws(torch.Generator().manual_seed(0))

    def work() -> Tensor:
        sets = plain.step(generator, teachers, draws, latent=LATENT, ways=WAYS, per_class=PER_CLASS, steps=5, rate=1e-3)
        return torch.stack([images[:WAYS] for images in sets])

    return work


def _generator(settings: InversionSettings, side: int) -> Generator:
    return draw_generator(settings, side, torch.Generator().manual_seed(0), law="default")


def upsampler(network: Generator) -> plain.Upsampler:
    """The plain generator with the weights of ours, which come in the same order."""
    own = plain.Upsampler(network.latent, network.width, network.side)
    with torch.no_grad():
        for parameter, given in zip(own.parameters(), network.parameters(), strict=True):
            parameter.copy_(given)
    return own


def published_teachers(pool: Pool) -> list[nn.Module]:
    """The networks of a pool that nobody else uses, as the published code has them.

    Their parameters ask for gradients that nobody uses, and layouts are torch's own.
    """
    return [model.module.to(memory_format=torch.contiguous_format).requires_grad_() for model in pool]


if __name__ == "__main__":
    run("Inversion", cases)
