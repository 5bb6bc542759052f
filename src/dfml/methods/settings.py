"""The base of a method's section, and what it may ask of the rest of the configuration to judge itself.

Rules that concern one method stand in its own settings; :mod:`dfml.config.checks` has those that concern all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dfml.artefacts.zoo import Architecture
from dfml.inversion.settings import InversionSettings
from dfml.settings import Problem, Section


@dataclass(frozen=True)
class PoolFacts:
    """A pool as the configuration describes it: how many models, of which networks and sides, and the learner.

    ``imported`` names its zoos from elsewhere, whose models count and whose networks are unknown; ``with_features`` is
    how many of the models give features. ``datasets`` are those whose images it is about: its own zoos' and those that
    learners are evaluated on. ``learner_side`` is the setting of the learner.
    """

    name: str
    models: int
    with_features: int
    networks: tuple[Architecture, ...]
    datasets: tuple[str, ...]
    sides: tuple[int, ...]
    learner: Architecture
    learner_side: int | None = None
    imported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a section is used with.

    Attributes:
        shots: The largest number of shots.
        inversion: The inversion's settings.
        pools: Those that ask for one of its methods, whether it can run there or not.
        runs: Whether one of its methods can run on one of them.
    """

    shots: int
    inversion: InversionSettings
    pools: tuple[PoolFacts, ...]
    runs: bool


class MethodSettings(Section):
    """A method's section of the configuration."""

    def resolved(self, inversion: InversionSettings) -> Self:
        """The same settings with nothing left to look up elsewhere."""
        return self

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """Why the method cannot run on a pool with these settings, or None if it can."""
        return None

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """What does not fit the rest of the configuration; ``key`` is the section's own."""
        yield from ()


def too_few_models(pool: PoolFacts, wanted: dict[str, int | None]) -> Iterator[Problem]:
    """A problem for each key that asks for more different models at once than the pool has."""
    for key, count in wanted.items():
        if count is not None and count > pool.models:
            more = ", or raise `zoo.models`" if pool.networks else ""
            message = f"{count} different models, but pool `{pool.name}` has {pool.models}; use fewer{more}"
            yield Problem(key, message, ("zoo.models", "networks", "pools", "methods"))


def heads_of_several_sides(key: str, head: str, around: Surroundings) -> Iterator[Problem]:
    """A problem for each pool whose models' heads differ in size, or are not the learner's; none can be ``head``."""
    for pool in around.pools:
        sides = sorted(set(pool.sides))
        if {pool.learner_side or sides[0]} != set(sides) and head not in ("zero", "fresh"):
            listed = " and ".join(map(str, sides))
            own = f", the learner is for {pool.learner_side} pixels" if pool.learner_side else ""
            message = f"pool `{pool.name}` unites images of side {listed}{own}: heads differ; use `zero` or `fresh`"
            yield Problem(f"{key}.head", message, ("pools", "datasets", "learner"))


def missing_file(file: str) -> str:
    """What to say of a path where there is no file; nothing if there is one."""
    try:
        found = Path(file).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long; the home of a user who is not there; no path at all
        found = False
    return "" if found else f"there is no file `{file}` (a path is taken from the folder that the command runs in)"
