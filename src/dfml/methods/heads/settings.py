"""Settings of distillation with one head per zoo model."""

from typing import Literal

from pydantic import Field

from dfml.metalearning.settings import AveragingSettings
from dfml.methods.settings import MethodSettings, PoolFacts


class HeadsSettings(AveragingSettings, MethodSettings):
    """Distillation with one head per zoo model on a shared backbone."""

    start: Literal["best_model", "random"] = Field(
        "best_model",
        description="The backbone at first: the pool's best model of the learner's own network (random if there is "
        "none), or random weights.",
    )
    questions: int = Field(
        8000, ge=2, description="Images, varied, that every model is asked once, or `models_per_question` of them."
    )
    models_per_question: int | None = Field(
        None,
        ge=1,
        description="Models that answer each question, drawn at random so that all answer as many; null: all of them. "
        "What answers take of time and memory then no longer grows with the pool.",
    )
    recolour: bool = Field(True, description="Vary the colours of a question at random before it is asked.")
    mix: bool = Field(True, description="Paste or blend pairs of questions before they are asked.")
    crop_padding: int = Field(
        4,
        ge=0,
        description="Largest shift of a question in pixels before it is asked; 0: neither shift nor flip.",
    )
    statistics: Literal["stored", "batch"] = Field(
        "stored",
        description="What models normalise by when they answer: the statistics that they have stored, which questions "
        "of another kind do not fit, or those of the questions asked together.",
    )
    temperature: float = Field(1.0, gt=0, description="Temperature of the softmax of models and heads.")
    balance: bool = Field(
        False, description="Weigh each question for a model so that all of its answers count alike in sum."
    )
    steps: int = Field(1500, ge=1, description="Gradient steps.")
    batch_size: int = Field(64, ge=2, description="Questions per step; every model's answers teach at once.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of Adam (cosine decay).")


class BankHeadsSettings(HeadsSettings):
    """Distillation with one head per zoo model, on recovered images."""

    procedural: float = Field(
        0.0, ge=0, le=1, description="Share of the questions that are procedural images, not recovered ones."
    )


class MixedHeadsSettings(BankHeadsSettings):
    """Distillation with one head per zoo model, on recovered and procedural images."""

    procedural: float = Field(
        0.5, ge=0, le=1, description="Share of the questions that are procedural images, not recovered ones."
    )


class ProceduralHeadsSettings(HeadsSettings):
    """Distillation with one head per zoo model, on procedural images: no inversion at all."""


class NoiseHeadsSettings(HeadsSettings):
    """Distillation with one head per zoo model, on images of uniform noise: a control."""


class UnlabelledHeadsSettings(HeadsSettings):
    """Distillation with one head per zoo model, on unlabelled real images of another domain: not data-free."""

    dataset: str = Field("emoji", description="The data set whose meta-train images are asked; none of the pool's own.")

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """Images of the pool's own domains would be more than unlabelled."""
        if self.dataset in pool.datasets:
            return "the unlabelled images would be of the pool's own domains"
        return None
