"""Per-model inversion: a fresh generator for every model (docs/method.md §3.5), the slow arm of the comparison."""

import torch

from dfml.config.inversion import FiveSettings, InversionSettings
from dfml.inversion.meta_generator import MetaGenerator, Recovered
from dfml.inversion.objective import Objective
from dfml.networks.generator import Generator
from dfml.zoo.pool import PoolModel


@torch.no_grad()
def draw_generator(settings: InversionSettings, side: int, draws: torch.Generator, *, law: str) -> Generator:
    """A new generator. ``law`` is ``default`` (PyTorch's, as FREE) or ``normal`` (N(0, 0.02), as BiDf-MKD and TGR)."""
    generator = Generator(latent=settings.latent, width=settings.width, side=side)
    generator.initialise(draws)
    if law == "normal":
        for name, parameter in generator.named_parameters():
            if name.endswith("weight"):
                centre = 1.0 if name.startswith("norm") else 0.0
                parameter.normal_(centre, 0.02, generator=draws)
            else:
                parameter.zero_()
    return generator


def invert_from_scratch(
    model: PoolModel,
    settings: InversionSettings,
    objective: Objective,
    *,
    draws: torch.Generator,
    device: torch.device,
    steps: int | None = None,
) -> Recovered:
    """Recover one model's task with a generator that starts from nothing; the lowest-loss images are kept."""
    per_model = settings.per_model
    generator = draw_generator(settings, model.side, draws, law="normal").to(device)
    five = FiveSettings(
        steps=steps or per_model.steps,
        learning_rate=per_model.learning_rate,
        latent_learning_rate=per_model.latent_learning_rate,
        outer_rule="fomaml_last",
        keep="best",
    )
    recovered, _ = MetaGenerator(generator, five).adapt(
        model, objective, images_per_class=settings.images_per_class, draws=draws
    )
    return recovered
