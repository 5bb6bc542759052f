"""Configuration of the methods: one section per row of the tables."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from dfml.config.base import DisagreementError, Problem, Section, overlay
from dfml.config.inversion import FiveSettings

MethodName = Literal[
    "random",
    "best",
    "average",
    "ota",
    "dro",
    "zoo_features",
    "zoo_ensemble",
    "free",
    "free_official",
    "free_heads",
    "supervised_maml",
    "supervised_anil",
    "supervised_protonet",
]


# Methods that combine the weights of all models, which must then be of the learner's own architecture.
FUSIONS = frozenset({"average", "ota", "dro"})


class BestSettings(Section):
    """The pool's best single model as the learner."""

    head: Literal["kept", "zero", "fresh"] = Field(
        "zero",
        description="The head, which was trained for other classes: kept, set to zero, or freshly initialised.",
    )


class AverageSettings(Section):
    """Average of all models' weights."""

    head: Literal["averaged", "zero", "fresh"] = Field(
        "zero",
        description="The head of the average: averaged like the rest, set to zero, or freshly initialised.",
    )


class OtaSettings(AverageSettings):
    """Average of all models' weights after their neurons were matched by optimal transport."""

    match_norm: bool = Field(
        True,
        description="Match neurons by their bias and batch-norm parameters too, not by their incoming weights alone.",
    )


class DroSettings(AverageSettings):
    """A network that writes the weights of all models, robust about its task embeddings (our reconstruction)."""

    iterations: int = Field(5000, ge=1, description="Outer steps.")
    batch: int = Field(8, ge=1, description="Models per outer step.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    embedding: int = Field(64, ge=1, description="Numbers of a model's embedding.")
    hidden: int = Field(512, ge=1, description="Width of the two hidden layers.")
    chunk: int = Field(512, ge=1, description="Weights written at a time.")
    penalty: float = Field(1.0, ge=0, description="Price of the squared distance from a model's embedding.")
    ascent_steps: int = Field(5, ge=0, description="Steps towards the worst embedding; 0: plain regression.")
    ascent_rate: float = Field(0.1, gt=0, description="Size of such a step.")


class ZooEnsembleSettings(Section):
    """Features of several models side by side."""

    models: int = Field(10, ge=1, description="How many of the pool's best models (own accuracy) are concatenated.")


class AdversarySettings(Section):
    """The adversarial term of FIVE: images on which teacher and meta-learner disagree."""

    weight: float = Field(0.0, ge=0, description="Weight of the term; 0 switches it off.")
    loss: Literal["inner_product", "kl_ts", "kl_st", "js"] = Field(
        "js", description="Disagreement (F03); `js` is bounded, the KL forms are not."
    )
    student: Literal["stale_fast", "meta"] = Field(
        "meta",
        description="Which student: the meta-learner, or the weights of the last replay episode (F04).",
    )
    student_grad: bool = Field(False, description="Let the gradient reach the image through the student as well.")


class BellSettings(Section):
    """BELL: sequential distillation steps and a Reptile-style outer step."""

    kd_loss: Literal["linear_prob", "kl"] = Field("kl", description="Distillation loss (F02).")
    fast_optimiser: Literal["adam", "sgd"] = Field("sgd", description="Optimiser of the sequential steps (F23).")
    fast_learning_rate: float = Field(0.01, gt=0, description="Learning rate of the sequential steps.")
    fast_steps: int = Field(1, ge=1, description="Distillation steps per recovered set.")
    order: Literal["sampled", "shuffled"] = Field("shuffled", description="Order of the models (F23).")
    outer: Literal["shared_adam", "own_sgd"] = Field(
        "own_sgd", description="Outer optimiser: replay's Adam, or a plain step of its own (F22)."
    )
    outer_scale: float = Field(
        1.0, gt=0, description="Factor of the displacement (67 in the official code, there inside Adam)."
    )


class ReplaySettings(Section):
    """Cross-task replay with MAML on the bank."""

    mode: Literal["patience", "fixed"] = Field(
        "patience",
        description="`fixed`: `max_outer` steps; `patience`: until no improvement for `patience` steps.",
    )
    patience: int = Field(10, ge=1, description="Outer steps without improvement before replay stops (F26).")
    max_outer: int = Field(40, ge=0, description="Largest number of outer steps per iteration; 0: no replay.")
    episodes: int = Field(10, ge=1, description="Episodes per outer step.")
    recolour: bool = Field(False, description="Vary the colours of replayed images at random (ours, not FREE's).")
    queries: int = Field(15, ge=1, description="Query images per class of a replay episode.")
    inner_steps: int = Field(5, ge=1, description="Inner steps.")
    inner_learning_rate: float = Field(0.01, gt=0, description="Inner learning rate.")
    first_order: bool = Field(False, description="Drop second derivatives (F43).")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    reduce: Literal["sum", "mean"] = Field("mean", description="How the episodes' losses are combined (F27).")


# Every option of the published code, also where ours agrees: a change of our default must not
# change `official`. Left to the user are `iterations` and `snapshots`, which are budget.
OFFICIAL_FREE: dict[str, Any] = {
    "start": "random",
    "generator": "fresh",
    "online": True,
    "pool_add": "last",
    "hetero_sampling": "shared_last",
    "augment": "per_batch",
    "five": {
        "warmup": 19,
        "models_per_iteration": 4,
        "steps": 5,
        "inner_optimiser": "adam",
        "learning_rate": 1e-3,
        "latent_learning_rate": 1e-3,
        "outer_rule": "fomaml_last",
        "outer_optimiser": "adam_fresh",
        "outer_learning_rate": 1e-3,
        "keep": "pre_last",
        "ce_weight": 1.0,
        "bn_weight": 0.0,
        "sample": "with_replacement",
    },
    "adversary": {"weight": 1.0, "loss": "inner_product", "student": "stale_fast", "student_grad": False},
    "bell": {
        "kd_loss": "linear_prob",
        "fast_optimiser": "adam",
        "fast_learning_rate": 1e-3,
        "fast_steps": 1,
        "order": "sampled",
        "outer": "shared_adam",
        "outer_scale": 67.0,
    },
    "replay": {
        "mode": "patience",
        "patience": 10,
        "max_outer": 1000,
        "episodes": 10,
        "recolour": False,
        "queries": 15,
        "inner_steps": 5,
        "inner_learning_rate": 0.01,
        "first_order": False,
        "learning_rate": 1e-3,
        "reduce": "sum",
    },
}


class FreeSettings(Section):
    """FREE: online FIVE, BELL and cross-task replay."""

    profile: Literal["corrected", "official"] = Field(
        "corrected",
        description="`official` starts from the published code's value of every option, "
        "`corrected` from ours; keys given beside it override either.",
    )
    iterations: int = Field(100, ge=1, description="Iterations of BELL and replay.")
    start: Literal["random", "zero_head", "best_model"] = Field(
        "random",
        description="The meta-learner at first: random weights as published; the same with a head of zeros; or the "
        "pool's best model of the learner's own network (random if there is none) with a head of zeros.",
    )
    generator: Literal["inversion", "fresh"] = Field(
        "inversion",
        description="Continue from the generator and bank of the `invert` rule, or start `fresh`: with an "
        "empty bank, after FIVE's `warmup`.",
    )
    online: bool = Field(True, description="Continue FIVE during meta-learning; false reads the bank only.")
    pool_add: Literal["last", "all"] = Field("all", description="Whose images enter the bank (F05).")
    hetero_sampling: Literal["shared_last", "per_model"] = Field(
        "per_model", description="Drawing models from a multi-architecture pool (F06)."
    )
    augment: Literal["per_sample", "per_batch"] = Field("per_sample", description="Augmentation in BELL (F17).")
    five: FiveSettings | None = Field(
        None,
        description="FIVE's settings here (`iterations` is not used); null takes those of `inversion.five`. "
        "Given in part, the rest comes from FIVE's defaults or from the profile, not from `inversion.five`.",
    )
    adversary: AdversarySettings = Field(AdversarySettings(), description="The adversarial term of FIVE.")
    bell: BellSettings = Field(BellSettings(), description="BELL.")
    replay: ReplaySettings = Field(ReplaySettings(), description="Cross-task replay.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")

    @model_validator(mode="before")
    @classmethod
    def _start_from_profile(cls, data: Any) -> Any:
        profile = cls.model_fields["profile"].default
        if isinstance(data, Mapping) and data.get("profile", profile) == "official":
            return overlay(OFFICIAL_FREE, data)
        return data

    @model_validator(mode="after")
    def _has_images_to_learn_from(self) -> "FreeSettings":
        if self.generator == "fresh" and not self.online:
            message = "a `fresh` generator starts with an empty bank, which only `online: true` fills; change one"
            raise DisagreementError([Problem("online", message, ("generator",))])
        return self

    def resolved(self, five: FiveSettings) -> "FreeSettings":
        """The same settings with FIVE's written out; ``five`` is what a null stands for."""
        return self.model_copy(update={"five": (self.five or five).resolved()})


class FreeOfficialSettings(FreeSettings):
    """FREE as the published code runs it: every option starts from its official value."""

    profile: Literal["official"] = Field("official", description="Fixed here; single options can be changed.")


class HeadsSettings(Section):
    """Distillation with one head per zoo model on a shared backbone."""

    start: Literal["best_model", "random"] = Field(
        "best_model",
        description="The backbone at first: the pool's best model of the learner's own network (random if there is "
        "none), or random weights.",
    )
    questions: int = Field(
        8000, ge=1, description="Recovered images (drawn with replacement, then varied) that every model is asked once."
    )
    recolour: bool = Field(True, description="Vary the colours of a question at random before it is asked.")
    mix: bool = Field(True, description="Paste or blend pairs of questions before they are asked.")
    steps: int = Field(1500, ge=1, description="Gradient steps.")
    batch_size: int = Field(64, ge=2, description="Questions per step; every model's answers teach at once.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of Adam (cosine decay).")


class FreeHeadsSettings(Section):
    """FREE that starts from a backbone distilled with one head per zoo model."""

    heads: HeadsSettings = Field(HeadsSettings(), description="The distillation.")
    free: FreeSettings | None = Field(
        FreeSettings(iterations=10), description="BELL and replay from the distilled backbone; null leaves them out."
    )

    def resolved(self, five: FiveSettings) -> "FreeHeadsSettings":
        """The same settings with FIVE's written out, as :meth:`FreeSettings.resolved`."""
        return self.model_copy(update={"free": self.free and self.free.resolved(five)})


class SupervisedProtonetSettings(Section):
    """Supervised ProtoNet on the real meta-train images."""

    iterations: int = Field(300, ge=1, description="Outer steps.")
    start: Literal["random", "zero_head"] = Field("random", description="Initial weights; the head is not used.")
    episodes: int = Field(4, ge=1, description="Episodes per outer step.")
    queries: int = Field(15, ge=1, description="Query images per class.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")


class SupervisedSettings(Section):
    """Supervised MAML or ANIL on the real meta-train images: upper bounds."""

    iterations: int = Field(300, ge=1, description="Outer steps.")
    start: Literal["random", "zero_head"] = Field(
        "zero_head",
        description="Random weights, all of them or with a head of zeros: labels being drawn anew in every episode, a "
        "random head only delays learning.",
    )
    episodes: int = Field(4, ge=1, description="Episodes per outer step.")
    queries: int = Field(15, ge=1, description="Query images per class.")
    inner_steps: int = Field(5, ge=1, description="Inner steps.")
    inner_learning_rate: float = Field(0.01, gt=0, description="Inner learning rate.")
    first_order: bool = Field(False, description="Drop second derivatives.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    snapshots: int = Field(5, ge=1, description="Iterates kept for the learning curve and `select: val_best`.")
