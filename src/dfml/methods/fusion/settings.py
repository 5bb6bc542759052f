"""Settings of the methods that combine the weights of all models."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from dfml.artefacts.zoo import RESNETS
from dfml.methods.settings import MethodSettings, PoolFacts, Surroundings, heads_of_several_sides
from dfml.settings import Problem

# Whose layers dfml.methods.fusion.transport goes through.
_KNOWN = ("conv4", *RESNETS)


class AverageSettings(MethodSettings):
    """Average of all models' weights."""

    head: Literal["averaged", "zero", "fresh"] = Field(
        "zero",
        description="The head of the average: averaged like the rest, set to zero, or freshly initialised.",
    )

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """Heads that have no average."""
        yield from heads_of_several_sides(key, self.head, around)


class OtaSettings(AverageSettings):
    """Average of all models' weights after their neurons were matched by optimal transport."""

    match_norm: bool = Field(
        True,
        description="Match neurons by their bias and batch-norm parameters too, not by their incoming weights alone.",
    )

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """It goes from layer to layer."""
        if strange := [family for family, *_ in pool.networks if family not in _KNOWN]:
            return f"it knows the layers of {', '.join(_KNOWN)}, not those of `{strange[0]}`"
        return None


class DroSettings(AverageSettings):
    """A network that writes the weights of all models, robust about its task embeddings (our reconstruction)."""

    iterations: int = Field(5000, ge=1, description="Outer steps.")
    batch: int = Field(8, ge=1, description="Models per outer step.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    embedding: int = Field(64, ge=1, description="Numbers of a model's embedding.")
    hidden: int = Field(512, ge=1, description="Width of the two hidden layers.")
    chunk: int = Field(512, ge=1, description="Weights written at a time.")
    penalty: float = Field(1.0, ge=0, description="Price of the squared distance from a model's embedding.")
    ascent_steps: int = Field(5, ge=0, description="Steps towards the worst embedding; 0: plain regression.")
    ascent_rate: float = Field(0.1, gt=0, description="Size of such a step.")
