"""Configuration of FREE with heads."""

from pydantic import Field

from dfml.config.base import Section
from dfml.config.inversion import FiveSettings
from dfml.config.methods.free import FreeSettings
from dfml.config.methods.heads import HeadsSettings


class FreeHeadsSettings(Section):
    """FREE that starts from a backbone distilled with one head per zoo model."""

    heads: HeadsSettings = Field(HeadsSettings(), description="The distillation.")
    free: FreeSettings | None = Field(
        FreeSettings(iterations=10), description="BELL and replay from the distilled backbone; null leaves them out."
    )

    def resolved(self, five: FiveSettings) -> "FreeHeadsSettings":
        """The same settings with FIVE's written out, as :meth:`FreeSettings.resolved`."""
        return self.model_copy(update={"free": self.free and self.free.resolved(five)})
