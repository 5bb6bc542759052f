"""Configuration of ICFIL, PURER's supplement at meta-test."""

from pydantic import Field

from dfml.config.base import Section


class IcfilSettings(Section):
    """ICFIL: the fine-tuned learner is inverted, and corrected on what comes out beside the support set."""

    episodes: int = Field(
        0,
        ge=0,
        description="Meta-test episodes, the first of the list, that are answered with and without it; 0: off. One "
        "takes more than ten times as long as without.",
    )
    images_per_class: int = Field(20, ge=1, description="Images recovered per class of the episode.")
    inversion_steps: int = Field(200, ge=1, description="Steps on these images.")
    inversion_learning_rate: float = Field(0.25, gt=0, description="Learning rate of their Adam, as PURER's.")
    tv_weight: float = Field(1e-4, ge=0, description="Weight of their total variation.")
    steps: int = Field(5, ge=1, description="Corrective gradient steps on support and recovered images.")
    learning_rate: float = Field(0.01, gt=0, description="Learning rate of these.")
    contrast_weight: float = Field(
        1.0, ge=0, description="Weight of the contrast between support and recovered images."
    )
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrast.")
