"""Settings of FREE."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dfml.inversion.settings import FiveSettings, InversionSettings
from dfml.metalearning.settings import ReplaySettings, Start
from dfml.methods.settings import MethodSettings, Surroundings, too_few_models
from dfml.settings import DisagreementError, Problem, Section, overlay

FreeStart = Literal[Start, "bank_heads", "procedural_heads", "mixed_heads"]


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

    mode: Literal["off", "parallel", "sequential"] = Field(
        "sequential",
        description="`sequential`: the steps on a set begin where those on the set before ended. `parallel`: all begin "
        "at the learner, and their displacements are added up, which leaves out the alignment of gradients. `off`: no "
        "BELL at all.",
    )
    heads: Literal["shared", "per_model"] = Field(
        "shared",
        description="The student's head: the learner's own for all models, as published, or a head for each model, so "
        "that models of other class orders do not contradict each other; replay alone then moves the learner's own.",
    )
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

    @field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads a bare `off` as false


# Every option of the published code, also where ours agrees: a change of our default must not
# change `official`. Left to the user are `iterations` and `snapshots`, which are budget.
OFFICIAL_FREE: dict[str, Any] = {
    "start": "random",
    "generator": "fresh",
    "online": True,
    "pool_add": "last",
    "hetero_sampling": "shared_last",
    "augment": "per_batch",
    "resize": "crop",
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
        "mode": "sequential",
        "heads": "shared",
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
        "domains": "mixed",
        "side": "canvas",
        "queries": 15,
        "inner_steps": 5,
        "inner_learning_rate": 0.01,
        "first_order": False,
        "learning_rate": 1e-3,
        "averaging": None,
        "reduce": "sum",
    },
}


class FreeSettings(MethodSettings):
    """FREE: online FIVE, BELL and cross-task replay."""

    profile: Literal["corrected", "official"] = Field(
        "corrected",
        description="`official` starts from the published code's value of every option, "
        "`corrected` from ours; keys given beside it override either.",
    )
    iterations: int = Field(100, ge=1, description="Iterations of BELL and replay.")
    start: FreeStart = Field(
        "random",
        description="The meta-learner at first: random weights as published; the same with a head of zeros; the "
        "pool's best model of the learner's own network (random if there is none) with a head of zeros; or what the "
        "method of that name has learned.",
    )
    generator: Literal["inversion", "fresh"] = Field(
        "inversion",
        description="Continue from generator, outer optimiser and bank of the `invert` rule, or start `fresh`: with an "
        "empty bank, after FIVE's `warmup`.",
    )
    online: bool = Field(True, description="Continue FIVE during meta-learning; false reads the bank only.")
    pool_add: Literal["last", "all"] = Field("all", description="Whose images enter the bank (F05).")
    hetero_sampling: Literal["shared_last", "per_model"] = Field(
        "per_model",
        description="Drawing models from a multi-architecture pool (F06); `shared_last`, as published, draws with "
        "replacement whatever `sample` says.",
    )
    augment: Literal["per_sample", "per_batch"] = Field(
        "per_sample", description="Augmentation in FREE's own inversion and in BELL (F17)."
    )
    resize: Literal["bilinear", "crop"] = Field(
        "bilinear", description="As `inversion.resize`, in BELL and in FIVE's continuation (F18)."
    )
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
        if self.adversary.weight and not self.online:
            message = "nothing is recovered with `online: false`, so the adversarial term never acts; use weight 0"
            raise DisagreementError([Problem("adversary.weight", message, ("online",))])
        return self

    def resolved(self, inversion: InversionSettings) -> Self:
        """The same settings with FIVE's written out: its outer rate in figures, `inversion.five` for a null."""
        five = self.five or inversion.five
        return self.model_copy(update={"five": five.model_copy(update={"outer_learning_rate": five.outer_rate})})

    def problems(self, key: str, around: Surroundings) -> Iterator[Problem]:
        """A meta-generator that was not made, more different models in an iteration than there are."""
        inversion = around.inversion
        if inversion.inverter != "five" and self.online and self.generator == "inversion":
            message = (
                f"`inversion.inverter: {inversion.inverter}` leaves no meta-generator to continue; "
                f"use `online: false`, `generator: fresh` or `inverter: five`"
            )
            yield Problem(f"{key}.online", message, ("inversion.inverter", f"{key}.generator", "methods", "pools"))
        if self.generator == "inversion" and self.online and self.five is not None:
            ours, theirs = self.five.outer_optimiser, inversion.five.outer_optimiser
            if ours == "adam_persistent" != theirs:
                message = (
                    f"`adam_persistent` goes on with the moments of the inversion's, but "
                    f"`inversion.five.outer_optimiser: {theirs}` leaves none; give both the same, or `generator: fresh`"
                )
                involved = ("inversion.five.outer_optimiser", f"{key}.generator", f"{key}.online", "methods", "pools")
                yield Problem(f"{key}.five.outer_optimiser", message, involved)
        wanted: dict[str, int | None] = {"inversion.speed.models": inversion.speed.models}
        for where, five in (("inversion.five", inversion.five), (f"{key}.five", self.five)):
            if five is not None and five.sample == "without":
                wanted[f"{where}.models_per_iteration"] = five.models_per_iteration
        for pool in around.pools:
            yield from too_few_models(pool, wanted)


class FreeHeadsSettings(FreeSettings):
    """FREE that begins with a backbone distilled with one head per zoo model."""

    start: FreeStart = Field("mixed_heads", description="As `free.start`.")


class FreeOfficialSettings(FreeSettings):
    """FREE as the published code runs it: every option starts from its official value."""

    profile: Literal["official"] = Field("official", description="Fixed here; single options can be changed.")
