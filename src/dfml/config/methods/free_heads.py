"""Configuration of FREE with heads."""

from pydantic import Field, model_validator

from dfml.config.methods.free import FreeSettings
from dfml.config.methods.heads import HeadsSettings
from dfml.inversion.settings import FiveSettings
from dfml.settings import DisagreementError, Problem, Section


class FreeHeadsSettings(Section):
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

    def resolved(self, five: FiveSettings) -> "FreeHeadsSettings":
        """The same settings with FIVE's written out, as :meth:`FreeSettings.resolved`."""
        return self.model_copy(update={"free": self.free and self.free.resolved(five)})
