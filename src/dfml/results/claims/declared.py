"""The declared claims, `docs/claims.yaml`: what is compared, by what measure and against what threshold. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dfml.artefacts.base import Text
from dfml.catalogue import METHODS
from dfml.errors import ConfigError
from dfml.results.declared import read_declared
from dfml.settings import DisagreementError, Name, Problem, RowName, Section, unknown


def _method(name: str) -> str:
    method = name.partition("-")[0]
    if method not in METHODS:
        raise ValueError(f"there is no method `{method}`; {unknown(method, METHODS)}")
    return name


Method = Annotated[RowName, AfterValidator(_method)]


class Study(Section):
    """One run of the workflow: its results are committed below ``docs/results/`` under the name it has here."""

    files: tuple[Text, ...] = Field((), strict=False, description="Laid over config/config.yaml, the last one wins.")
    cost: Text = Field(description="What a run takes, in words.")
    known: bool = Field(False, description="Whether its results were there when claims were first declared about it.")

    @property
    def command(self) -> str:
        """What to type to run it."""
        chosen = f" --configfile {' '.join(self.files)}" if self.files else ""
        return f"./run.sh snakemake{chosen}"


class Side(Section):
    """Accuracies of a method."""

    method: Method
    weight: float = Field(1.0, description="Factor of these accuracies in the sum that is subtracted.")


class Threshold(Section):
    """What is to be reached: a value, or more than a value."""

    at_least: float | None = None
    more_than: float | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.at_least is None) == (self.more_than is None):
            raise DisagreementError([Problem("at_least", "give either `at_least` or `more_than`")])
        return self

    @property
    def value(self) -> float:
        """The number itself."""
        return self.at_least if self.at_least is not None else self.more_than or 0.0

    def reached_by(self, value: float) -> bool:
        """Whether a value without any doubt about it reaches the threshold."""
        value = round(value, 9)  # 35.1 − 20.1 is fifteen points
        return value >= self.value if self.at_least is not None else value > self.value

    def __str__(self) -> str:
        return f"{'at least' if self.at_least is not None else 'more than'} {number(self.value)}"


class Comparison(Threshold):
    """Accuracy of a method, minus those it is held against, seed by seed: points."""

    experiment: Name
    of: Method
    against: tuple[Side, ...] = Field((), strict=False, description="Empty: the accuracy itself, in percent.")
    pool: Name
    shots: int = Field(1, ge=1)
    dataset: Name | None = Field(None, description="Null: the mean over the data sets of the pool.")
    rule: Literal["finetune", "centroid_euclidean", "centroid_cosine"]
    batch_norm: Literal["transductive", "support"] = "transductive"
    every_seed: bool = Field(False, description="Every seed has to reach the threshold, not the mean over them.")
    seeds: int = Field(ge=1, description="Fewest seeds for a claim to be confirmed, or refuted by a mean.")
    equal_episodes: bool = Field(False, description="Whether all sides must have learned from as many episodes.")

    @property
    def sides(self) -> tuple[tuple[float, Method], ...]:
        """All terms of the sum: factor and method."""
        return ((1.0, self.of), *((-side.weight, side.method) for side in self.against))


class SpeedTest(Threshold):
    """How many times FIVE's seconds a per-model inversion of at least the same quality takes."""

    experiment: Name
    pool: Name
    tasks: int = Field(ge=1, description="Fewest tasks that every arm was timed on.")


class Claim(Section):
    """A sentence and the tests it is held to, all of them."""

    id: Name
    says: Text
    source: Text
    published: Text = Field("", description="What the source gives for it, quoted.")
    budget: Text
    compare: tuple[Comparison, ...] = Field((), strict=False)
    speed: tuple[SpeedTest, ...] = Field((), strict=False)

    @model_validator(mode="after")
    def _is_tested(self) -> Self:
        if not (self.compare or self.speed):
            raise DisagreementError(
                [Problem("compare", "nothing tests the claim: list a comparison, here or in speed")]
            )
        return self

    @property
    def experiments(self) -> tuple[Name, ...]:
        """Whose results it rests on, in order."""
        compared = [test.experiment for test in self.compare]
        return tuple(dict.fromkeys([*(test.experiment for test in self.speed), *compared]))


class Claims(Section):
    """All claims and the experiments that they rest on."""

    experiments: dict[Name, Study]
    claims: tuple[Claim, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        ids = [claim.id for claim in self.claims]
        wrong = [
            Problem(f"claims.{place}.id", f"`{claim.id}` is the id of another claim; give it one of its own")
            for place, claim in enumerate(self.claims)
            if claim.id in ids[:place]
        ]
        wrong += [
            Problem(f"claims.{place}", f"names the experiment `{name}`; {unknown(name, self.experiments)}")
            for place, claim in enumerate(self.claims)
            for name in claim.experiments
            if name not in self.experiments
        ]
        if wrong:
            raise DisagreementError(wrong)
        return self


def load_claims(path: Path, *, root: Path) -> Claims:
    """Read and check a file of claims; the files that experiments name are below ``root``.

    Raises:
        ConfigError: the file cannot be read or a value is wrong; one line each, with file and key.
    """
    claims = read_declared(path, Claims, parts=(Claim, Study, Comparison, SpeedTest, Side))
    if missing := [
        f"{path}: experiments.{name}.files: there is no {file}"
        for name, experiment in claims.experiments.items()
        for file in experiment.files
        if not (root / file).is_file()
    ]:
        raise ConfigError("\n".join(missing))
    return claims


def number(value: float) -> str:
    """A number as a reader wants it: no trailing zeros, a real minus sign."""
    return f"{value:.10g}".replace("-", "−")
