"""A card: what the owner of a zoo says of classifiers that were trained elsewhere. Imports no torch."""

import os
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from dfml.artefacts.base import Percent, Text
from dfml.errors import ConfigError, DataError, some
from dfml.files.reading import LONGEST_NAME, MEBIBYTE, read_at_most
from dfml.files.yaml_files import read_yaml
from dfml.settings import DisagreementError, Name, Problem, Section
from dfml.zoo.imported.faults import faults_of
from dfml.zoo.imported.inputs import InputCard, with_inputs

PROGRAM = "program"
NO_FEATURES = "none"
LIBRARIES = ("torchvision", "timm", "dfml")
_SHOWN = 5

# Which cards this process was told of: no other makes code run, whatever a manifest says.
_named: set[Path] = set()


def _spelled(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("is a truth value to YAML, as no, yes, on and off are; put the name in quotes")
    if value == "":
        raise ValueError("is empty; every output has a name")
    if isinstance(value, int):
        raise ValueError("is a number to YAML, to which 010 is 8; put the name in quotes")
    return value


# In Unicode's form NFC, as data sets have theirs: names of one class are to be equal.
ClassName = Annotated[
    Text,
    BeforeValidator(_spelled),
    StringConstraints(min_length=1, max_length=LONGEST_NAME),
    AfterValidator(partial(normalize, "NFC")),
]


def _builder(text: str) -> str:
    source, colon, name = text.rpartition(":")
    if text != PROGRAM and not (colon and source and (name.isidentifier() or (source == "timm" and name.strip()))):
        raise ValueError(
            "give `file.py:function`, `package.module:function`, `torchvision:resnet18`, `timm:NAME`, `dfml:conv4` (or "
            "`dfml:resnet10`, `dfml:resnet18`), or `program` for weights that are an exported program"
        )
    return text


class ModelCard(Section):
    """One classifier: how its module is built, its weights, and what its outputs mean."""

    name: Name = Field(description="What it is called.")
    network: Annotated[str, AfterValidator(_builder)] = Field(description="How its module is built.")
    options: dict[str, Any] = Field({}, description="Keyword arguments of that.")
    weights: str | None = Field(
        None, description="Its weights, a path from the card's folder: safetensors, a state dict, or the program."
    )
    classes: tuple[ClassName, ...] = Field(min_length=2, strict=False, description="Class names in output order.")
    classes_file: str | None = Field(
        None,
        description="A text file in the card's folder with a class name on each line, in the place of `classes`.",
    )
    below: Text | None = Field(None, description="Key of a checkpoint that has the weights, if another than usual.")
    input: InputCard | None = Field(None, description="The keys in which it is other than the zoo's.")
    outputs: Literal["logits", "probabilities", "sigmoid"] = Field("logits", description="What it answers with.")
    features: Annotated[Text, StringConstraints(min_length=1)] | None = Field(
        None,
        description="Layer that gives an image's features, by its name in the module; without it what the last linear "
        "layer or convolution takes, and `none`: it has none.",
    )
    answers_only: bool = Field(
        False, description="The function gives no module, but a function of images: a black box, such as a service."
    )
    accuracy: Percent | None = Field(None, description="Its own accuracy in percent, as its owner has it.")
    trusted: bool = Field(
        False, description="Whether an exported program may be loaded: its file can make torch run any code."
    )
    licence: Text = Field("", description="Its licence, if another than the zoo's.")
    origin: Text = Field("", description="Where it is from.")

    @field_validator("classes")
    @classmethod
    def _no_repetition(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"lists {', '.join(twice)} more than once; outputs of two classes need two names, so rename one"
            )
        return names

    @field_validator("accuracy")
    @classmethod
    def _in_percent(cls, accuracy: float | None) -> float | None:
        if accuracy is not None and 0 < accuracy <= 1:
            raise ValueError(f"is in percent; write {100 * accuracy:g} instead of {accuracy:g}")
        return accuracy

    @model_validator(mode="after")
    def _weights_are_where_they_belong(self) -> "ModelCard":
        problems = []
        if self.answers_only and (self.weights or self.network == PROGRAM or self.library):
            problems.append(Problem("answers_only", "goes with a function of your own, and without `weights`"))
        if not self.answers_only and self.weights is None:
            problems.append(Problem("weights", "missing; give the file"))
        if self.network == PROGRAM and not self.trusted:
            message = (
                "the file of an exported program can make torch run any code when it is read; say `trusted: true` if "
                "you know whom it is from"
            )
            problems.append(Problem("trusted", message, ("network",)))
        if self.features not in (None, NO_FEATURES) and not self._shows_layers:
            problems.append(Problem("features", "names a layer, and a program or a function shows none; leave it out"))
        if self.network == PROGRAM and self.options:
            problems.append(Problem("options", "an exported program takes none", ("network",)))
        if problems:
            raise DisagreementError(problems)
        return self

    @property
    def _shows_layers(self) -> bool:
        return not self.answers_only and self.network != PROGRAM

    @property
    def gives_features(self) -> bool:
        """Whether features can be taken from it: it is a module, and its owner does not say that it has none."""
        return self._shows_layers and self.features != NO_FEATURES

    @property
    def library(self) -> str | None:
        """The library that builds it, for `torchvision:`, `timm:` and `dfml:`."""
        source = self.network.rpartition(":")[0]
        return source if source in LIBRARIES else None

    @property
    def source(self) -> str | None:
        """The file of the function that builds it, a path from the card's folder, if it is one."""
        source = self.network.rpartition(":")[0]
        return source if source.endswith(".py") else None


class ZooCard(Section):
    """A zoo of classifiers that were trained elsewhere."""

    licence: Text = Field("", description="Licence of the models.")
    origin: Text = Field("", description="Where they are from.")
    label_space: Literal["global", "per_model"] = Field(
        "global",
        description="`global`: classes of one name are one class in all models; `per_model`: each model's are its own.",
    )
    input: InputCard | None = Field(None, description="How photos become what the models take; a model may differ.")
    models: tuple[ModelCard, ...] = Field(min_length=1, max_length=10_000, strict=False, description="The models.")

    @model_validator(mode="before")
    @classmethod
    def _what_a_model_leaves_out_is_the_zoos(cls, values: Any) -> Any:
        return with_inputs(values)

    @model_validator(mode="after")
    def _models_can_be_told_apart(self) -> "ZooCard":
        seen: set[str] = set()
        problems = []
        for place, model in enumerate(self.models):
            if model.name in seen:
                problems.append(Problem(f"models.{place}.name", f"a second model is called `{model.name}`"))
            if model.input is None and self.input is None:
                problems.append(Problem(f"models.{place}.input", "missing; give it here or for the whole zoo"))
            if longest := next((name for name in self.classes_of(model) if len(name) > LONGEST_NAME), None):
                message = f"with the model's name before it, {longest!r} has more than {LONGEST_NAME} characters"
                problems.append(Problem(f"models.{place}.classes", message, ("label_space",)))
            seen.add(model.name)
        if problems:
            raise DisagreementError(problems)
        return self

    def classes_of(self, model: ModelCard) -> list[str]:
        """What the classes of a model are called in the zoo, in output order."""
        return [name if self.label_space == "global" else f"{model.name}/{name}" for name in model.classes]

    def input_of(self, model: ModelCard) -> InputCard:
        """How photos become what a model takes."""
        chosen = model.input or self.input
        assert chosen is not None
        return chosen

    @property
    def answers_only(self) -> bool:
        """Whether its models give nothing but answers."""
        return all(model.answers_only for model in self.models)

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides that the models see, each once."""
        return tuple(sorted({self.input_of(model).side for model in self.models}))

    def files(self, folder: Path) -> list[Path]:
        """Every file that the models are made of, each once: weights, class names, and the user's own code."""
        names = [name for one in self.models for name in (one.weights, one.classes_file, one.source) if name]
        return [folder / name for name in dict.fromkeys(names)]


def read_card(path: Path) -> ZooCard:
    """Read a card, and see that the files it names are there.

    Raises:
        DataError: the card is missing, no YAML or has wrong keys, or a file is missing; it names each of them.
    """
    # os.path: of a name that no file can have, such as one too long, pathlib raises an OSError.
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder; name the card in it")
    if not os.path.isfile(path):
        raise DataError(f"there is no card {path}")
    values: Any = None
    try:
        values = _with_classes(read_yaml(path), path)
        card = ZooCard.model_validate(values)
    except ConfigError as error:
        raise DataError(str(error).replace("\n", "; ")) from None
    except ValidationError as error:
        known = {key for section in (ZooCard, ModelCard, InputCard) for key in section.model_fields}
        faults = faults_of(error, values, known=known)
        raise DataError(f"{path}: {some(faults, _SHOWN, between='; ')}") from None
    if missing := [str(file) for file in card.files(path.parent) if not os.path.isfile(file)]:
        raise DataError(f"{path} names files that are not there: {some(missing, _SHOWN)}")
    return card


def _with_classes(values: dict[str, Any], card: Path) -> dict[str, Any]:
    """A card's values with the classes of those models that name a file of them."""
    models = values.get("models")
    if not isinstance(models, list):
        return values
    return {**values, "models": [_with_own(model, place, card) for place, model in enumerate(models)]}


def _with_own(model: Any, place: int, card: Path) -> Any:
    file = model.get("classes_file") if isinstance(model, Mapping) else None
    if not isinstance(file, str):
        return model
    where = f"{card}: models.{place}.classes_file"
    if "classes" in model:
        raise DataError(f"{where}: `classes` has names as well; leave one of them out")
    try:
        lines = read_at_most(card.parent / file, MEBIBYTE).decode("utf-8-sig").rstrip().splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: no text with a name on each line ({error})") from None
    return {**model, "classes": [line.strip() for line in lines]}


def register_cards(cards: Iterable[str | Path]) -> None:
    """Say which cards may have modules built: those that the user's own configuration names."""
    _named.update(_full(card) for card in cards)


def registered_card(path: str) -> tuple[Path, ZooCard]:
    """The card that a manifest names, if the user has named it too.

    Raises:
        DataError: nobody has, or it cannot be read.
    """
    card_file = _full(path)
    if card_file not in _named:
        raise DataError(
            f"the card {card_file} was not named here, and what a manifest names is not run; use the models of an "
            "imported zoo within the workflow, by a configuration with `zoos.*.card`"
        )
    return card_file, read_card(card_file)


def _full(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


@cache
def card_at(path: str, changed: int) -> ZooCard:
    """The card at ``path`` as it was at the time ``changed``, read once."""
    return read_card(Path(path))
