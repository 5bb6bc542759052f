"""Settings of distillation with one head per zoo model, alone and before FREE."""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from dfml.inversion.settings import InversionSettings
from dfml.methods.free.settings import FreeSettings
from dfml.methods.settings import MethodSettings, PoolFacts, Surroundings
from dfml.settings import DisagreementError, Problem, Section


class HeadsSettings(Section):
    """Distillation with one head per zoo model on a shared backbone."""

    start: Literal["best_model", "random"] = Field(
        "best_model",
        description="The backbone at first: the pool's best model of the learner's own network (random if there is "
        "none), or random weights.",
    )
    questions: int = Field(
        8000, ge=1, description="Images (drawn with replacement, then varied) that every model is asked once."
    )
    recolour: bool = Field(True, description="Vary the colours of a question at random before it is asked.")
    mix: bool = Field(True, description="Paste or blend pairs of questions before they are asked.")
    steps: int = Field(1500, ge=1, description="Gradient steps.")
    batch_size: int = Field(64, ge=2, description="Questions per step; every model's answers teach at once.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of Adam (cosine decay).")


class HeadsAloneSettings(HeadsSettings, MethodSettings):
    """The same without inversion, whose settings do not apply then."""

    crop_padding: int = Field(
        4, ge=0, description="Largest shift of a question in pixels, drawn anew each step; 0: neither shift nor flip."
    )


class NoiseHeadsSettings(HeadsAloneSettings):
    """The distillation of `free_heads` alone, on images of uniform noise: a control."""


class UnlabelledHeadsSettings(HeadsAloneSettings):
    """The distillation of `free_heads` alone, on unlabelled real images of another domain: not data-free."""

    dataset: str = Field("emoji", description="The data set whose meta-train images are asked; none of the pool's own.")

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """Images of the pool's own domains would be more than unlabelled."""
        if self.dataset in pool.datasets:
            return "the unlabelled images would be of the pool's own domains"
        return None


class FreeHeadsSettings(MethodSettings):
    """FREE that starts from a backbone distilled with one head per zoo model."""

    heads: HeadsSettings = Field(HeadsSettings(), description="The distillation.")
    free: FreeSettings | None = Field(
        FreeSettings(iterations=10), description="BELL and replay from the distilled backbone; null leaves them out."
    )

    @model_validator(mode="after")
    def _starts_from_the_distillation(self) -> "FreeHeadsSettings":
        if self.free is not None and self.free.start != "random":
            message = "FREE starts from the distilled backbone here; remove this key (its own start: `heads.start`)"
            raise DisagreementError([Problem("free.start", message)])
        return self

    def resolved(self, inversion: InversionSettings) -> Self:
        """The same settings with FIVE's written out, as :meth:`FreeSettings.resolved`."""
        return self.model_copy(update={"free": self.free and self.free.resolved(inversion)})

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """As those of FREE, if it is a part."""
        if self.free is not None:
            yield from self.free.problems(f"{key}.free", around)
