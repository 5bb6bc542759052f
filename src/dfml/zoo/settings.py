"""Settings of pools and of zoo training."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from dfml.networks.settings import NetworkSettings
from dfml.settings import Access, DisagreementError, Name, Problem, RowName, Section, distinct

Shots = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False), AfterValidator(distinct)]
"""Numbers of shots, none of them twice."""


class ImportedZooSettings(Section):
    """A zoo of classifiers that were trained elsewhere."""

    card: str = Field(description="Path of the YAML file that describes them (docs/your_zoo.md).")
    recolour: bool = Field(
        False, description="As `datasets.<name>.recolour`, for images that are recovered from its models."
    )


class PoolSettings(Section):
    """A named union of zoos: what a method is given."""

    datasets: tuple[Name, ...] = Field(
        ("icons_colour",),
        strict=False,
        description="Data sets whose zoos are united; learners are evaluated on them.",
    )
    networks: tuple[Name, ...] = Field(
        ("conv4",),
        strict=False,
        description="Networks whose zoos are united (drawn per model).",
    )
    zoos: tuple[Name, ...] = Field(
        (), strict=False, description="Imported zoos that are united with those; `datasets: []` for these alone."
    )
    evaluate: tuple[Name, ...] | None = Field(
        None, strict=False, description="Data sets that learners are evaluated on, if others than `datasets`."
    )
    methods: tuple[RowName, ...] | None = Field(
        None,
        strict=False,
        description="Methods run on this pool; null runs every method of the top-level list, [] none.",
    )
    shots: Shots | None = Field(
        None, description="Numbers of shots run on this pool; null runs every one of the top-level list, `[]` none."
    )
    shots_of: dict[RowName, Annotated[Shots, Field(description="Numbers of shots that the method runs at.")]] = Field(
        {}, description="The same for single methods that run at some of these only: `{free: [1]}`."
    )
    access: Access = Field(
        "weights",
        description="What the owner of the models gives away: their `logits` for any image, `gradients` of these with "
        "respect to the image as well, or all `weights`. Methods that need more are n/a.",
    )

    _no_repetition = field_validator("datasets", "networks", "zoos", "evaluate", "methods")(distinct)

    @model_validator(mode="after")
    def _has_models(self) -> "PoolSettings":
        if self.datasets and not self.networks:
            raise DisagreementError([Problem("networks", "missing: a zoo is of one data set and one network")])
        if not (self.datasets or self.zoos):
            raise DisagreementError(
                [Problem("datasets", "names no zoo; give a data set, or an imported zoo in `zoos`", ("zoos",))]
            )
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The data sets that learners are evaluated on; without any nothing is measured."""
        return self.datasets if self.evaluate is None else self.evaluate

    @property
    def read(self) -> tuple[str, ...]:
        """The data sets whose images are prepared: those that zoos are trained on, and those evaluated on."""
        return tuple(dict.fromkeys([*self.datasets, *self.measured]))


class OptimiserSettings(Section):
    """How the models of one network family are optimised."""

    epochs: int | None = Field(None, ge=1, description="Training epochs of these models; null takes `zoo.epochs`.")
    optimiser: Literal["adam", "sgd"] = Field("adam", description="Optimiser.")
    learning_rate: float = Field(0.01, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum (sgd only).")
    weight_decay: float = Field(0.0, ge=0, description="L2 weight decay.")
    schedule: Literal["one_cycle", "multistep"] = Field(
        "one_cycle", description="`one_cycle`, or `multistep` as in the published recipe."
    )
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (70,), strict=False, description="Epochs of decay (multistep only)."
    )
    gamma: float = Field(0.2, gt=0, le=1, description="Decay factor at a milestone (multistep only).")
    bfloat16: bool = Field(
        False,
        description="Training steps compute in bfloat16 what PyTorch's autocast does in it; weights and measurements "
        "stay float32. For ResNets, on a processor or GPU that has it.",
    )

    _no_repetition = field_validator("milestones")(distinct)


class ZooSettings(Section):
    """A zoo: many classifiers of random tasks of one data set and one architecture."""

    models: int = Field(100, ge=1, le=10_000, description="Models per (data set, architecture, seed).")
    judges: int = Field(
        4,
        ge=0,
        description="Models trained anew on the classes of the first models; they judge recovered images.",
    )
    epochs: int = Field(60, ge=1, description="Training epochs of each model.")
    batch_size: int = Field(128, ge=2, description="Images per step.")
    train_fraction: float = Field(0.8, gt=0, lt=1, description="Share of each class's images that trains the model.")
    selection_fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of each class's images that chooses: the epoch under `checkpoint: best`, and which models "
        "are the best ones; the rest measures the own accuracy and chooses nothing.",
    )
    checkpoint: Literal["best", "last"] = Field(
        "best", description="Which epoch is stored: `best` on the selection share, or `last` (F12)."
    )
    augment: Literal["none", "crop", "crop_flip", "affine"] = Field(
        "none",
        description="Augmentation of real images (F14): shifts (`crop`), also mirrored, or small turns, scalings and "
        "shifts (`affine`).",
    )
    recolour: bool = Field(
        False,
        description="Vary the colours of real images at random (F14), of data sets whose `recolour` lets it.",
    )
    gradient_clip: float = Field(50.0, gt=0, description="Largest gradient norm of a step.")
    stem_relu: bool = Field(True, description="ResNets: ReLU after the stem's batch norm (F33).")
    conv4: OptimiserSettings = Field(OptimiserSettings(), description="Recipe of Conv4 models.")
    resnet: OptimiserSettings = Field(
        OptimiserSettings(
            optimiser="sgd", momentum=0.9, weight_decay=5e-4, schedule="multistep", milestones=(30, 50, 80)
        ),
        description="Recipe of ResNet models and of networks of your own.",
    )

    def recipe_of(self, family: str) -> Literal["conv4", "resnet"]:
        """The section of models of a network family."""
        return "conv4" if family == "conv4" else "resnet"

    @model_validator(mode="after")
    def _some_images_are_left_to_test(self) -> "ZooSettings":
        if self.train_fraction + self.selection_fraction > 1 - 1e-9:
            message = "with `train_fraction` leaves no images to measure the own accuracy on; their sum must be below 1"
            raise DisagreementError([Problem("selection_fraction", message, ("train_fraction",))])
        return self


def models_and_judges(network: NetworkSettings, settings: ZooSettings) -> tuple[int, int]:
    """How many models a zoo of this network has, and how many judges."""
    models = network.models or settings.models
    return models, min(settings.judges, models)


def parts_of(network: NetworkSettings, settings: ZooSettings, models_per_job: int | None) -> list[range]:
    """Which models, judges last, each of several jobs trains; none where one job trains them all."""
    total, size = sum(models_and_judges(network, settings)), models_per_job
    if size is None or total <= size:
        return []
    return [range(first, min(first + size, total)) for first in range(0, total, size)]
