"""Settings of model inversion: how images are recovered from the zoo."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dfml.settings import Section, distinct

Inverter = Literal["five", "gen_ce", "gen_bn", "cmi", "deep_inversion", "fast"]


class FiveSettings(Section):
    """FIVE: a meta-generator adapts to each model in a few steps."""

    iterations: int = Field(60, ge=1, description="Outer iterations after the warm-up; their images fill the bank.")
    warmup: int = Field(19, ge=0, description="First iterations whose images are thrown away.")
    models_per_iteration: int = Field(4, ge=1, description="Models inverted in one outer iteration, m (F24).")
    steps: int = Field(5, ge=1, description="Inner steps per model, k.")
    inner_optimiser: Literal["adam", "sgd"] = Field("adam", description="Optimiser of the inner steps.")
    learning_rate: float = Field(1e-3, gt=0, description="Inner learning rate of the generator.")
    latent_learning_rate: float = Field(1e-3, gt=0, description="Inner learning rate of the latents (F11).")
    outer_rule: Literal["fomaml_last", "fomaml_sum", "reptile", "maml"] = Field(
        "fomaml_sum", description="Meta-gradient of the generator (F08)."
    )
    outer_optimiser: Literal["adam_fresh", "adam_persistent", "sgd"] = Field(
        "adam_persistent", description="Outer optimiser (F09); `adam_fresh` is rebuilt at every step."
    )
    outer_learning_rate: float | None = Field(
        None,
        gt=0,
        description="Outer learning rate; null: `learning_rate`, times `steps` unless adam_fresh (F09).",
    )
    keep: Literal["pre_last", "best", "final"] = Field("best", description="Which inner iterate is kept (F10).")
    ce_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy to the asked classes.")
    bn_weight: float = Field(0.1, ge=0, description="Weight of the batch-norm statistics term (F07).")
    sample: Literal["with_replacement", "without"] = Field(
        "without",
        description="Sampling of models: each anew, or walks through all in random order (F25). An iteration that ends "
        "one walk and begins the next may meet a model twice.",
    )

    @property
    def outer_rate(self) -> float:
        """The outer learning rate in figures (F09)."""
        if self.outer_learning_rate is not None:
            return self.outer_learning_rate
        return self.learning_rate * (1 if self.outer_optimiser == "adam_fresh" else self.steps)


class PerModelSettings(Section):
    """Inversion of each model by a generator of its own, from scratch: the slow arm."""

    steps: int = Field(200, ge=1, description="Steps per model.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the generator.")
    latent_learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the latents.")
    ce_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy to the asked classes.")
    bn_weight: float = Field(1.0, ge=0, description="Weight of the statistics term in `gen_bn` (`gen_ce` has none).")
    models: int | None = Field(None, ge=1, description="How many models are inverted; null: every model of the pool.")


class FastSettings(FiveSettings):
    """Fast-Datafree: FIVE with a moving estimate of the images' statistics, one model after another."""

    iterations: int = Field(240, ge=1, description="Outer iterations after the warm-up; their images fill the bank.")
    warmup: int = Field(20, ge=0, description="First iterations whose images are thrown away.")
    models_per_iteration: int = Field(1, ge=1, description="Models inverted between two steps of the generator.")
    learning_rate: float = Field(
        3e-3,
        gt=0,
        description="Inner learning rate of the generator; published with 2, 5 and 10 steps: 5e-3, 3e-3, 2e-3.",
    )
    latent_learning_rate: float = Field(
        0.01,
        gt=0,
        description="Inner learning rate of the latents; published with 2, 5 and 10 steps: 0.015, 0.01, 0.01.",
    )
    ce_weight: float = Field(0.4, ge=0, description="Weight of the cross-entropy to the asked classes.")
    bn_weight: float = Field(10.0, ge=0, description="Weight of the batch-norm statistics term.")
    statistics_momentum: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="What the moving estimate of the images' statistics keeps from one inner step to the next; 0: each "
        "batch's own statistics.",
    )
    restart_at: int | None = Field(
        120,
        ge=0,
        description="Iteration after the warm-up at which the generator's first linear layer and batch norm are drawn "
        "anew, once; null: never.",
    )


class CmiSettings(Section):
    """CMI: contrastive model inversion, which drives the images of a model apart."""

    steps: int = Field(200, ge=1, description="Steps per batch.")
    batches: int = Field(
        2, ge=1, description="Batches recovered of each model; each is told apart from those before it as well."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of generator, latents and projection head.")
    ce_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy to the asked classes.")
    bn_weight: float = Field(1.0, ge=0, description="Weight of the batch-norm statistics term.")
    contrast_weight: float = Field(0.8, ge=0, description="Weight of the contrastive term.")
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrastive term.")
    projection: int = Field(128, ge=1, description="Size of a projected feature and of the head's hidden layer.")
    memory: int = Field(40960, ge=1, description="Images whose features are remembered of one model, the newest.")
    negatives: int = Field(4096, ge=1, description="Remembered images drawn in one step.")
    smallest_window: float = Field(0.25, gt=0, le=1, description="Smallest area of the cropped view, as a fraction.")
    models: int | None = Field(None, ge=1, description="How many models are inverted; null: every model of the pool.")


class DeepInversionSettings(Section):
    """DeepInversion: the pixels themselves are fitted to each model."""

    steps: int = Field(200, ge=1, description="Steps per model.")
    learning_rate: float = Field(0.05, gt=0, description="Learning rate of the pixels, in normalised units.")
    ce_weight: float = Field(1.0, ge=0, description="Weight of the cross-entropy to the asked classes.")
    bn_weight: float = Field(0.01, ge=0, description="Weight of the batch-norm statistics term.")
    tv_weight: float = Field(1e-4, ge=0, description="Weight of the total variation.")
    roll: float = Field(0.125, ge=0, lt=1, description="Largest circular shift before each step, as part of the side.")
    flip: bool = Field(True, description="Mirror the batch before a step with probability one half.")
    models: int | None = Field(None, ge=1, description="How many models are inverted; null: every model of the pool.")


class SpeedSettings(Section):
    """The speed table: FIVE against per-model inversion, timed in turn in one process."""

    models: int = Field(3, ge=1, description="Models inverted by every arm.")
    steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (50, 200),
        min_length=1,
        strict=False,
        description="Steps of the per-model arms (same generator and batch).",
    )

    _no_repetition = field_validator("steps")(distinct)


class InversionSettings(Section):
    """What the `invert` rule does for every pool and seed."""

    inverter: Inverter = Field(
        "five", description="How the bank of the methods without an inverter of their own is made."
    )
    latent: int = Field(256, ge=1, description="Size of a latent vector.")
    width: int = Field(64, ge=1, description="Width of the generator, ngf.")
    images_per_class: int = Field(20, ge=1, description="Images recovered per class of a model in one inversion.")
    augment: Literal["per_sample", "per_batch"] = Field(
        "per_sample", description="Random crops and flips drawn per image or once per batch (F17)."
    )
    resize: Literal["bilinear", "crop"] = Field(
        "bilinear",
        description="What a model sees of images recovered at a larger side than its own: the whole, reduced, or a "
        "random crop (F18).",
    )
    crop_padding: int = Field(4, ge=0, description="Zero padding of the random crop in pixels; 0 switches it off.")
    slots: int = Field(20, ge=1, description="Ring slots per class in the bank, `images_per_class` images each.")
    five: FiveSettings = Field(FiveSettings(), description="Settings of `five`.")
    per_model: PerModelSettings = Field(PerModelSettings(), description="Settings of `gen_ce` and `gen_bn`.")
    cmi: CmiSettings = Field(CmiSettings(), description="Settings of `cmi`.")
    deep_inversion: DeepInversionSettings = Field(DeepInversionSettings(), description="Settings of `deep_inversion`.")
    fast: FastSettings = Field(FastSettings(), description="Settings of `fast`.")
    speed: SpeedSettings = Field(SpeedSettings(), description="Settings of the speed table.")
