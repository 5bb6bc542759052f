"""Settings of the methods that take models as they are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from dfml.methods.settings import MethodSettings, PoolFacts, Surroundings, heads_of_several_sides, too_few_models
from dfml.settings import Problem


class BestSettings(MethodSettings):
    """The pool's best single model as the learner."""

    head: Literal["kept", "zero", "fresh"] = Field(
        "zero",
        description="The head, which was trained for other classes: kept, set to zero, or freshly initialised.",
    )

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """The model becomes the learner."""
        if pool.learner not in pool.networks:
            return "no model of the pool has the meta-learner's architecture"
        return None

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """A head that is not of the learner's size."""
        yield from heads_of_several_sides(key, self.head, around)


class ZooEnsembleSettings(MethodSettings):
    """Features of several models side by side."""

    models: int = Field(10, ge=1, description="How many of the pool's best models (`Pool.best`) are concatenated.")

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """More models at once than there are; where there is none, the method is not applicable."""
        for pool in around.pools:
            if pool.with_features:
                shown = replace(pool, models=pool.with_features)
                yield from too_few_models(shown, {f"{key}.models": self.models})
