"""Settings of PURER."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from dfml.metalearning.settings import EpisodeSettings, OuterStepSettings
from dfml.methods.settings import MethodSettings, Surroundings, heads_of_several_sides, too_few_models
from dfml.settings import Problem


class PurerSettings(OuterStepSettings, EpisodeSettings, MethodSettings):
    """PURER: a set of synthetic images is itself what is trained, together with the learner."""

    iterations: int = Field(4000, ge=1, description="Meta-iterations: a step on the images, then one on the learner.")
    warmup: int = Field(
        0,
        ge=0,
        description="Meta-iterations before, in which only the images move: at first they are noise, and a learner "
        "that starts from a model's weights would unlearn them on it (0 as published).",
    )
    start: Literal["average", "random", "zero_head", "best_model"] = Field(
        "average",
        description="The meta-learner at first: the average of the pool as published, or as `free.start`. Where some "
        "model is not of the learner's network there is no average, and it is `random`.",
    )
    head: Literal["averaged", "zero", "fresh"] = Field(
        "zero", description="The head of `start: average`, as `average.head`; `averaged` as published."
    )
    images_per_class: int | None = Field(
        None, ge=1, description="Images of every class in the set; null: as many as an episode takes."
    )
    image_learning_rate: float = Field(
        0.25, gt=0, description="Learning rate of the images' Adam, in units of normalised pixels (0.01 in PURER-Plus)."
    )
    clip: bool = Field(True, description="Keep the images valid; the published code never does (P6).")
    sparse: bool = Field(
        True,
        description="Images that no loss of an iteration concerns stay as they are; with false they move on by the "
        "momentum of earlier steps, as published (P3).",
    )
    models_per_iteration: int | None = Field(
        None, ge=1, description="Models that each step on the images asks; null: all of the pool (13 in PURER-Plus)."
    )
    model_weight: Literal["uniform", "triangular"] = Field(
        "uniform",
        description="Weights of the models' losses: equal, or M, M − 1, …, 1 as the published sum of sums gives (P1).",
    )
    label_order: Literal["own", "official"] = Field(
        "own",
        description="Every image is to be what its class is to the model; `official`: images in the order of their "
        "classes' numbers, targets in the order of the outputs, mostly of another class (P2).",
    )
    tv_weight: float = Field(1e-4, ge=0, description="Weight of the images' total variation.")
    bn_weight: float = Field(0.01, ge=0, description="Weight of the batch-norm statistics term.")
    l2_weight: float = Field(1e-5, ge=0, description="Weight of the images' norm.")
    roll: int = Field(2, ge=0, description="Largest shift, in pixels, of the images that a model sees.")
    roles: Literal["mixed", "fixed"] = Field(
        "mixed",
        description="`fixed`: the first images of a class are always its support set, as in PURER-Plus.",
    )
    episodes: int = Field(4, ge=1, description="Episodes per meta-step.")
    inner_steps: int = Field(1, ge=1, description="Inner steps of MAML and ANIL (5 in PURER-Plus).")
    curriculum_after: int | None = Field(
        1000,
        ge=0,
        description="Meta-iterations before the record of the query accuracy is kept that may make images harder (4000 "
        "of 60000 as published); null: never.",
    )
    curriculum_patience: int = Field(
        6, ge=1, description="Meta-iterations without improvement until one step on the images is adversarial."
    )
    adversarial_weight: float = Field(
        10.0, ge=0, description="Weight of a random episode's outer loss, which that step raises."
    )
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """A set too small for an episode, heads without an average, a curriculum too late, too many models at once."""
        held, needed = self.images_per_class, around.shots + self.queries
        if held is not None and held < needed:
            message = (
                f"{held} images per class cannot give an episode of {around.shots} shots and {self.queries} queries "
                f"(`{key}.queries`); use at least {needed}, fewer queries or null"
            )
            yield Problem(f"{key}.images_per_class", message, ("shots", f"{key}.queries", "methods", "pools"))
        if self.start == "average":
            yield from heads_of_several_sides(key, self.head, around)
        after = self.curriculum_after
        if around.runs and self.adversarial_weight and after is not None and after >= self.iterations:
            message = (
                f"the run ends after {self.iterations} meta-iterations, so no step is ever adversarial; lower it, or "
                "use null"
            )
            yield Problem(f"{key}.curriculum_after", message, (f"{key}.iterations", f"{key}.adversarial_weight"))
        for pool in around.pools:
            yield from too_few_models(pool, {f"{key}.models_per_iteration": self.models_per_iteration})
