"""Configuration of distillation with one head per zoo model."""

from typing import Literal

from pydantic import Field

from dfml.settings import Section


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


class HeadsAloneSettings(HeadsSettings):
    """The same without inversion, whose settings do not apply then."""

    crop_padding: int = Field(
        4, ge=0, description="Largest shift of a question in pixels, drawn anew each step; 0: neither shift nor flip."
    )


class NoiseHeadsSettings(HeadsAloneSettings):
    """The same on images of uniform noise: what the answers are worth without any image."""


class UnlabelledHeadsSettings(HeadsAloneSettings):
    """The same on unlabelled real images of another domain: outside the data-free wall, a challenger."""

    dataset: str = Field("emoji", description="The data set whose meta-train images are asked; none of the pool's own.")
