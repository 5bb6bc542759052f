"""Per-model inversion: a fresh generator for every model (docs/method.md §3.5), the slow arm of the comparison."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dfml.compute.placement import to_device
from dfml.inversion.inner_steps import InnerSteps, adapt_at, draw_generator
from dfml.inversion.objective import Objective
from dfml.inversion.recovered import REMEDY, Recovered, check_finite
from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.zoo.model import PoolModel


class FromScratch:
    """Recovers one model's task after another, each with a generator that starts from nothing.

    The lowest-loss images are kept, if no other rule is asked for. Places of work are used again, so that a GPU records
    the loop once; threads that recover at the same time have one each.

    Args:
        settings: of the inversion.
        objective: what is minimised.
        side: of the images, pixels.
        device: where.
        steps: generator steps; by default those of the settings.
        like: FIVE, whose rates, inner optimiser and rule of which images are kept are taken in place of our own.
    """

    def __init__(
        self,
        settings: InversionSettings,
        objective: Objective,
        *,
        side: int,
        device: torch.device,
        steps: int | None = None,
        like: FiveSettings | None = None,
    ) -> None:
        self.settings, self.objective, self.side = settings, objective, side
        rates = like or settings.per_model
        self._steps = FiveSettings(
            steps=steps or settings.per_model.steps,
            learning_rate=rates.learning_rate,
            latent_learning_rate=rates.latent_learning_rate,
            outer_rule="reptile",  # of each parameter its value before the steps less that after them
            inner_optimiser=like.inner_optimiser if like else "adam",
            keep=like.keep if like else "best",
        )
        self._device = device
        self._idle: list[InnerSteps] = []

    def __call__(self, model: PoolModel, generator: torch.Generator) -> Recovered:
        """Recover the task of ``model``; raises DfmlError when a loss is not finite."""
        (recovered,) = self.batches(model, 1, generator)
        return recovered

    def batches(self, model: PoolModel, count: int, generator: torch.Generator) -> Iterator[Recovered]:
        """Recover the task of ``model`` several times; each time new latents, the generator going on where it was.

        Raises:
            DfmlError: a loss is not finite.
        """
        fresh = to_device(draw_generator(self.settings, self.side, generator, law="normal"), self._device)
        try:
            place = self._idle.pop()
        except IndexError:
            place = InnerSteps(fresh, self._steps)
        per_class = self.settings.images_per_class
        parameters: list[Tensor] = list(place.network.parameters())
        try:
            place.network.load_state_dict(fresh.state_dict())
            for _ in range(count):
                given = place.draw(model, self.objective, images_per_class=per_class, generator=generator)
                (found,) = adapt_at([place], [model], self.objective, [given])
                images, curve, losses, *displacement = found
                check_finite(model, losses, images, REMEDY)
                yield Recovered(model, images, given[0], curve)
                with torch.no_grad():
                    # The generator goes to where the inner steps ended.
                    torch._foreach_sub_(parameters, displacement)
        finally:
            self._idle.append(place)
