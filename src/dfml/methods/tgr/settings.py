"""Settings of TGR."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from dfml.metalearning.settings import ReplaySettings, Start
from dfml.methods.settings import MethodSettings, PoolFacts, Surroundings, missing_file
from dfml.settings import DisagreementError, Problem


class TgrSettings(MethodSettings):
    """TGR: models are grouped by dissimilarity, and their disagreement is regularised."""

    iterations: int = Field(100, ge=1, description="Iterations of regularised distillation and replay.")
    start: Start = Field("random", description="The meta-learner at first, as `free.start`.")
    embedding_batches: int = Field(
        20, ge=1, description="Batches of images recovered of every model at first, which its embedding is made from."
    )
    inversion_steps: int = Field(
        200, ge=1, description="Generator steps per batch; learning rates are those of `inversion.per_model`."
    )
    bn_weight: float = Field(1.0, ge=0, description="Weight of the batch-norm statistics term in the inversion.")
    probe: Literal["meta_learner", "self", "random_r34", "imagenet_r34"] = Field(
        "meta_learner",
        description="Whose sensitivity to its images embeds a model (T2): the initial meta-learner; the model itself "
        "(pools of one network and side); a ResNet-34 of random weights, or one trained on ImageNet as published, "
        "which is not data-free and comes from `probe_weights`.",
    )
    probe_weights: str = Field(
        "",
        description="For `probe: imagenet_r34`: safetensors file with torchvision's ImageNet weights of a ResNet-34; "
        "nothing is downloaded.",
    )
    fisher: Literal["per_sample", "squared_mean"] = Field(
        "per_sample",
        description="The embedding: mean of every image's squared gradient by a fixed function, or the squared "
        "gradient of a batch's mean loss with batch statistics as published (T3).",
    )
    epsilon: Literal["relative", "absolute"] = Field(
        "relative", description="What keeps ratios of embeddings finite: 1e-6 of their mean, or 1e-6 (T4)."
    )
    groups: int = Field(5, ge=1, description="Groups of dissimilar models; a group per model if there are fewer.")
    group_models: Literal["all", "first_100"] = Field(
        "all", description="Which models are embedded, grouped and drawn; the published code keeps 100 (T1)."
    )
    models_per_iteration: int = Field(4, ge=1, description="Models drawn from one group, with replacement.")
    augment: Literal["per_sample", "per_batch"] = Field(
        "per_sample", description="Augmentation, in its inversions and of recovered sets."
    )
    kd_loss: Literal["kl", "linear_prob"] = Field("kl", description="Distillation loss (F02, T5).")
    ce_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy to the labels of recovered images.")
    displacement: float = Field(
        1e-3, gt=0, description="Size λ of the step against which each set's gradient is taken: the regularisation."
    )
    second_order: bool = Field(
        True,
        description="Differentiate through the displacement as published; held fixed, the regularisation is half as "
        "strong and needs no second derivatives.",
    )
    replay: ReplaySettings = Field(
        ReplaySettings(episodes=16, patience=4), description="Cross-task replay; its Adam is that of the whole learner."
    )
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")

    @model_validator(mode="after")
    def _has_its_probe(self) -> "TgrSettings":
        if self.probe == "imagenet_r34" and not self.probe_weights:
            message = "`probe: imagenet_r34` needs the file of its weights; name it here or choose another probe"
            raise DisagreementError([Problem("probe_weights", message, ("probe",))])
        return self

    def inapplicable(self, pool: PoolFacts) -> str | None:
        """Models that probe themselves are compared parameter by parameter."""
        if self.probe == "self" and len(set(pool.networks)) * len(set(pool.sides)) > 1:
            return "its probe `self` needs models of one network and image side"
        return None

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """A file of weights that is not there."""
        if self.probe == "imagenet_r34" and around.runs and (missing := missing_file(self.probe_weights)):
            yield Problem(f"{key}.probe_weights", missing)
