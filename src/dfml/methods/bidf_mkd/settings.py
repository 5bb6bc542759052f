"""Settings of BiDf-MKD."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from dfml.metalearning.settings import BankReplaySettings, OuterAdamSettings, Start
from dfml.methods.settings import MethodSettings, Surroundings
from dfml.settings import Problem, Section


class BidfAdversarySettings(Section):
    """The adversarial term of the query set: images on which model and adapted learner disagree."""

    weight: float = Field(1.0, ge=0, description="Weight of the term; 0 switches it off.")
    loss: Literal["inner_product", "kl_ts", "kl_st", "js", "l1"] = Field(
        "js",
        description="Disagreement (B1, F03); published are `inner_product` in the white box and `l1`, the distance of "
        "the logits, in the black box.",
    )
    student_grad: bool = Field(False, description="Let the gradient reach the image through the learner as well.")
    after: int = Field(
        70, ge=0, description="Outer steps before the term is used (4000 as published, of a run many times as long)."
    )


class BlackBoxAdversarySettings(BidfAdversarySettings):
    """The same where only answers are seen."""

    loss: Literal["inner_product", "kl_ts", "kl_st", "js", "l1"] = Field(
        "l1", description="Disagreement; `l1`, the distance of the logits, as published."
    )
    mask: Literal["fixed", "recomputed"] = Field(
        "fixed",
        description="Where model and learner agree: judged once per image, or anew at every perturbed image, as "
        "published (B3).",
    )


class BidfMkdSettings(OuterAdamSettings, MethodSettings):
    """BiDf-MKD: bi-level distillation from recovered support and query sets, with replay between them."""

    iterations: int = Field(1000, ge=1, description="Outer steps.")
    start: Start = Field(
        "random", description="The meta-learner at first, as `free.start`; `best_model` needs the models' weights."
    )
    tasks_per_step: int = Field(4, ge=1, description="Tasks of an outer step, whose losses are added up.")
    patience: int = Field(
        200, ge=1, description="Outer steps without a better mean query accuracy before the next model is inverted."
    )
    inversion_steps: int = Field(200, ge=1, description="Generator steps per recovered set.")
    augment: Literal["per_sample", "per_batch"] = Field(
        "per_sample", description="Augmentation of recovered images (F17)."
    )
    resize: Literal["bilinear", "crop"] = Field("bilinear", description="As `inversion.resize` (F18, B9).")
    kd_loss: Literal["linear_prob", "kl"] = Field(
        "kl", description="Distillation loss; `linear_prob`, as published, hardly moves the learner (B1)."
    )
    kd_weight: float = Field(
        1.0, ge=0, description="Weight of a distillation task's loss beside replay episodes of weight 1 (B5)."
    )
    inner_steps: int = Field(10, ge=1, description="Distillation steps on the support set.")
    inner_learning_rate: float = Field(0.01, gt=0, description="Learning rate of these steps.")
    first_order: bool = Field(False, description="Drop second derivatives of the distillation steps.")
    adversary: BidfAdversarySettings = Field(
        BidfAdversarySettings(), description="The adversarial term of the query set."
    )
    replay: BankReplaySettings = Field(BankReplaySettings(), description="The replay episodes between two events.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """An adversarial term that the run ends before."""
        after = self.adversary.after
        if around.runs and self.adversary.weight and after >= self.iterations:
            message = (
                f"the run ends after {self.iterations} outer steps (`{key}.iterations`), before the term is used; "
                "lower it, or switch the term off by a `weight` of 0"
            )
            yield Problem(f"{key}.adversary.after", message, (f"{key}.iterations", f"{key}.adversary.weight"))


class BidfMkdBlackBoxSettings(BidfMkdSettings):
    """BiDf-MKD that sees the models' answers only: gradients with respect to images are estimated."""

    start: Literal["random", "zero_head"] = Field(
        "random", description="The meta-learner at first, as `free.start`; no model's weights are seen."
    )
    directions: int = Field(100, ge=1, description="Random directions per image and step, q.")
    radius: float = Field(0.005, gt=0, description="Length of a step along a direction, μ.")
    best_by: Literal["loss", "surrogate"] = Field(
        "loss", description="What decides which images are kept: the loss, or the published surrogate (B2)."
    )
    adversary: BlackBoxAdversarySettings = Field(
        BlackBoxAdversarySettings(), description="The adversarial term of the query set."
    )
