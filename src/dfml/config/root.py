"""The whole configuration and the grid of cells it asks for."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from dfml.config.checks import disagreements
from dfml.config.methods.bidf_mkd import BidfMkdBlackBoxSettings, BidfMkdSettings
from dfml.config.methods.free import FreeOfficialSettings, FreeSettings
from dfml.config.methods.free_heads import FreeHeadsSettings
from dfml.config.methods.fusion import AverageSettings, BestSettings, DroSettings, OtaSettings, ZooEnsembleSettings
from dfml.config.methods.heads import NoiseHeadsSettings, UnlabelledHeadsSettings
from dfml.config.methods.inversion_then_meta import InversionThenMetaSettings
from dfml.config.methods.names import FUSIONS, LEVELS, SECTIONS, MethodName, needed_access
from dfml.config.methods.purer import PurerSettings
from dfml.config.methods.supervised import SupervisedProtonetSettings, SupervisedSettings
from dfml.config.methods.tgr import TgrSettings
from dfml.data.settings import DatasetSettings
from dfml.evaluation.settings import EvaluationSettings
from dfml.inversion.settings import InversionSettings
from dfml.jobs.settings import RuntimeSettings
from dfml.networks.settings import LearnerSettings, NetworkSettings
from dfml.settings import DisagreementError, Name, Section, distinct
from dfml.zoo.settings import PoolSettings, ZooSettings


@dataclass(frozen=True, order=True)
class Cell:
    """One learner: a method on a pool at a number of shots with a seed."""

    pool: str
    method: str
    shots: int
    seed: int


class Config(Section):
    """A whole experiment."""

    experiment: Name = Field("demo", description="Name of the experiment and of its folder below `results/`.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, strict=False, description="Seeds; each has its own zoos, banks and learners."
    )
    ways: int = Field(5, ge=2, description="Classes per task, of zoo models and of episodes.")
    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1,),
        min_length=1,
        strict=False,
        description="Support images per class; each value is a training of its own.",
    )
    label_space: Literal["global", "per_model"] = Field(
        "global",
        description="`global`: models that share a class are known to share it; `per_model`: every output of "
        "every model is a class of its own, so nothing beyond the weights is assumed (F16).",
    )
    datasets: dict[Name, DatasetSettings] = Field(
        {"icons_colour": DatasetSettings()}, min_length=1, description="Data sets by name."
    )
    networks: dict[Name, NetworkSettings] = Field(
        {"conv4": NetworkSettings()}, min_length=1, description="Networks of the zoo by name."
    )
    learner: LearnerSettings = Field(LearnerSettings(), description="The meta-learner's network: a Conv4.")
    pools: dict[Name, PoolSettings] = Field({"single": PoolSettings()}, min_length=1, description="Pools by name.")
    zoo: ZooSettings = Field(ZooSettings(), description="Zoo training.")
    inversion: InversionSettings = Field(InversionSettings(), description="Model inversion.")
    methods: tuple[MethodName, ...] = Field(
        ("random", "zoo_features", "free"), min_length=1, strict=False, description="Methods that are run."
    )
    custom_methods: dict[
        Name, Annotated[str, Field(description="Path of a Python file with a function `fit(context)`.")]
    ] = Field({}, description="Methods of your own by name, run after `methods` (docs/adding.md).")
    best: BestSettings = Field(BestSettings(), description="Method `best`.")
    average: AverageSettings = Field(AverageSettings(), description="Method `average`.")
    ota: OtaSettings = Field(OtaSettings(), description="Method `ota`.")
    dro: DroSettings = Field(DroSettings(), description="Method `dro`: our reconstruction of the idea.")
    zoo_ensemble: ZooEnsembleSettings = Field(ZooEnsembleSettings(), description="Method `zoo_ensemble`.")
    inversion_then_meta: InversionThenMetaSettings = Field(
        InversionThenMetaSettings(),
        description="Methods `gen_ce`, `gen_bn`, `cmi`, `deep_inversion`, `fast`: each has its own inverter's bank.",
    )
    purer: PurerSettings = Field(
        PurerSettings(), description="Methods `purer_maml`, `purer_anil`, `purer_protonet`: PURER by its learner."
    )
    bidf_mkd: BidfMkdSettings = Field(BidfMkdSettings(), description="Method `bidf_mkd`: the white-box form.")
    bidf_mkd_black_box: BidfMkdBlackBoxSettings = Field(
        BidfMkdBlackBoxSettings(), description="Method `bidf_mkd_black_box`: only answers are seen."
    )
    tgr: TgrSettings = Field(TgrSettings(), description="Method `tgr`.")
    free: FreeSettings = Field(FreeSettings(), description="Method `free`.")
    free_official: FreeOfficialSettings = Field(
        FreeOfficialSettings(), description="Method `free_official`: the published code's semantics."
    )
    free_heads: FreeHeadsSettings = Field(FreeHeadsSettings(), description="Method `free_heads`.")
    noise_heads: NoiseHeadsSettings = Field(NoiseHeadsSettings(), description="Method `noise_heads`: a control.")
    unlabelled_heads: UnlabelledHeadsSettings = Field(
        UnlabelledHeadsSettings(), description="Method `unlabelled_heads`: not data-free."
    )
    supervised_maml: SupervisedSettings = Field(SupervisedSettings(), description="Method `supervised_maml`.")
    supervised_anil: SupervisedSettings = Field(SupervisedSettings(), description="Method `supervised_anil`.")
    supervised_protonet: SupervisedProtonetSettings = Field(
        SupervisedProtonetSettings(), description="Method `supervised_protonet`."
    )
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="Evaluation.")
    runtime: RuntimeSettings = Field(RuntimeSettings(), description="Running long jobs.")

    _no_repetition = field_validator("seeds", "shots", "methods")(distinct)

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        if problems := list(disagreements(self)):
            raise DisagreementError(problems)
        return self

    def inapplicable(self, pool: str, method: str) -> str | None:
        """Why a method cannot run on a pool, or None if it can."""
        chosen = self.pools[pool]
        networks = [self.networks[name] for name in chosen.networks]
        own = (self.learner.family, self.learner.width)
        needed = needed_access(method, self.options(method).get("start"))
        if not method.startswith("supervised_") and LEVELS.index(needed) > LEVELS.index(chosen.access):
            return f"it needs the models' {needed}, the pool gives their {chosen.access} only"
        if method == "unlabelled_heads" and self.unlabelled_heads.dataset in chosen.datasets:
            return "the unlabelled images would be of the pool's own domains"
        if method in FUSIONS:
            if len(networks) > 1:
                return "averaging weights needs models of one architecture"
            if (networks[0].family, networks[0].width) != own:
                return "the average of the models must have the meta-learner's architecture"
        if method == "best" and all((network.family, network.width) != own for network in networks):
            return "no model of the pool has the meta-learner's architecture"
        if method == "tgr" and self.tgr.probe == "self":
            sides = {self.datasets[name].side for name in chosen.datasets}
            if len({(network.family, network.width) for network in networks}) > 1 or len(sides) > 1:
                return "its probe `self` needs models of one network and image side"
        return None

    def pool_models(self, pool: str) -> int:
        """How many models a pool holds: those of every one of its data sets and networks."""
        chosen = self.pools[pool]
        models = (self.networks[network].models or self.zoo.models for network in chosen.networks)
        return len(chosen.datasets) * sum(models)

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Rows of the tables in their order: the listed methods, then the user's own."""
        return (*self.methods, *self.custom_methods)

    def options(self, method: str) -> dict[str, Any]:
        """The method's own section as plain values, nothing left to look up; empty if it has no settings."""
        if method in self.custom_methods:  # which may be called as some other section is
            return {}
        section = getattr(self, SECTIONS.get(method, method), None)
        if isinstance(section, FreeSettings | FreeHeadsSettings):
            section = section.resolved(self.inversion.five)
        return {} if section is None else section.model_dump(mode="json")

    def selected(self, pool: str) -> tuple[str, ...]:
        """Methods asked for on a pool, applicable or not."""
        chosen = self.pools[pool].methods
        return tuple(m for m in self.all_methods if chosen is None or m in chosen)

    def cells(self) -> list[Cell]:
        """Every learner of the experiment, in table order."""
        return [
            Cell(pool, method, shots, seed)
            for pool in self.pools
            for method in self.selected(pool)
            if self.inapplicable(pool, method) is None
            for shots in self.shots
            if self.pools[pool].shots is None or shots in self.pools[pool].shots
            for seed in self.seeds
        ]
