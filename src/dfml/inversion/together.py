"""Several models inverted in one iteration: how that is computed, the one switch, and where it is set.

All forms give the same images and pseudo-gradients up to rounding (tests ask for 1e-5 in float32, 1e-10 in float64).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch

from dfml.inversion.descent import Found
from dfml.inversion.inner_steps import Given, InnerSteps, adapt_at
from dfml.inversion.objective import Objective
from dfml.inversion.settings import FiveSettings
from dfml.inversion.stacked import StackedSteps, can_be_stacked
from dfml.networks.generator import Generator
from dfml.zoo.model import PoolModel


class InversionForm(NamedTuple):
    """A way to invert several models.

    Attributes:
        way: ``apart``: every model at a place of its own, on a GPU each a recorded loop on its own stream;
            ``stacked``: those of one form at once (:mod:`dfml.inversion.stacked`).
        products: as of :class:`dfml.inversion.stacked.StackedSteps`.
    """

    way: Literal["apart", "stacked"]
    products: int = 0


ALL = 2**62

CANDIDATES: Mapping[str, InversionForm] = {
    "apart": InversionForm("apart"),
    "grouped": InversionForm("stacked"),
    "products": InversionForm("stacked", ALL),
}
"""What ``python -m benchmarks --only inversion_forms`` times on a GPU, side by side with the plain reference."""


class InversionShape(NamedTuple):
    """What the fastest form depends on: models, images of each, their side in pixels and the generator's width."""

    models: int
    images: int
    side: int
    width: int


FASTEST: Mapping[InversionShape, str] = {}
"""The candidate that was measured to be the fastest on a GPU, by shape; a shape that is not here has ``apart``.

Nothing was measured yet. The benchmark prints the lines that belong here.
"""


def form_of(shape: InversionShape, device: torch.device) -> InversionForm:
    """The form for models of one architecture on their device."""
    return CANDIDATES["apart" if device.type != "cuda" else FASTEST.get(shape, "apart")]


class Together:
    """Where copies of a generator are adapted to the models of one iteration.

    Args:
        network: the generator; read, never changed here. Its owner may change it between calls.
        settings: of FIVE.
        form: how; by default the fastest known for the device and shape, on a CPU ``apart``.
    """

    def __init__(self, network: Generator, settings: FiveSettings, form: InversionForm | None = None) -> None:
        self.network, self.settings, self.form = network, settings, form
        self.places: list[InnerSteps] = []
        self._stacked: dict[int, StackedSteps] = {}

    def __call__(
        self, models: Sequence[PoolModel], objective: Objective, *, images_per_class: int, generator: torch.Generator
    ) -> tuple[list[Given], list[Found]]:
        """What was drawn for each model, with a CPU generator in their order, and what its adaptation found."""
        self.places += [InnerSteps(self.network, self.settings) for _ in range(len(models) - len(self.places))]
        given = [
            place.draw(model, objective, images_per_class=images_per_class, generator=generator)
            for place, model in zip(self.places, models, strict=False)
        ]
        found: dict[int, Found] = {}
        alone: list[int] = []
        for members in self._groups(models):
            latents = given[members[0]][1]
            shape = InversionShape(len(members), len(latents), self.network.side, self.network.width)
            form = self.form or form_of(shape, latents.device)
            if form.way == "apart" or not can_be_stacked(models[members[0]], objective, self.settings):
                alone += members
                continue
            if form.products not in self._stacked:
                self._stacked[form.products] = StackedSteps(self.network, self.settings, products=form.products)
            work = self._stacked[form.products]
            results = work([models[i] for i in members], objective, [given[i] for i in members])
            found.update(zip(members, results, strict=True))
        if alone:
            alone.sort()
            results = adapt_at(self.places, [models[i] for i in alone], objective, [given[i] for i in alone])
            found.update(zip(alone, results, strict=True))
        return given, [found[i] for i in range(len(models))]

    def _groups(self, models: Sequence[PoolModel]) -> list[list[int]]:
        """The positions of models of one form."""
        groups: dict[object, list[int]] = {}
        for i, model in enumerate(models):
            groups.setdefault(model.form, []).append(i)
        return list(groups.values())
