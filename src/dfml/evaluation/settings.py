"""Settings of evaluation."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dfml.settings import DisagreementError, Problem, Section


class EvaluationSettings(Section):
    """Fixed episodes, the same for every method and seed."""

    split: Literal["meta_test", "meta_val"] = Field(
        "meta_test",
        description="Whose classes the tables report. `meta_val`: for choosing settings; no meta-test image is read.",
    )
    episodes: int = Field(600, ge=2, description="Episodes of that split.")
    queries: int = Field(15, ge=1, description="Query images per class.")
    episode_seed: int = Field(0, ge=0, description="Seed of the episode lists.")
    adaptation_steps: int = Field(10, ge=1, description="Gradient steps of fine-tuning on the support set.")
    adaptation_learning_rate: float = Field(0.01, gt=0, description="Learning rate of fine-tuning.")
    select: Literal["last", "val_best"] = Field(
        "last",
        description="Reported iterate: the last, or the best on meta-val episodes; never on meta-test (F01).",
    )
    validation_episodes: int = Field(
        50,
        ge=0,
        description="Meta-val episodes per kept iterate (learning curve, `val_best`); 0 switches both off.",
    )

    @field_validator("select", mode="before")
    @classmethod
    def _never_on_meta_test(cls, value: Any) -> Any:
        if value == "best_on_test":
            raise ValueError(
                "`best_on_test` is refused: the best of many iterates on the meta-test classes is a maximum "
                "over noise, not the accuracy of a learner (F01); use `last` or `val_best`"
            )
        return value

    @model_validator(mode="after")
    def _val_best_has_episodes(self) -> "EvaluationSettings":
        if self.select == "val_best" and not self.validation_episodes:
            message = "`select: val_best` needs meta-val episodes; use at least 1, or `select: last`"
            raise DisagreementError([Problem("validation_episodes", message, ("select",))])
        return self
