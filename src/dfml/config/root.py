"""The whole configuration, composed of the sections of all rooms, and the grid of cells it asks for."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model, field_validator, model_validator

from dfml.artefacts.base import Cell
from dfml.catalogue import METHODS, entry, section_key, sections
from dfml.config.checks import disagreements, faulty_variants
from dfml.data.settings import DatasetSettings
from dfml.evaluation.settings import EvaluationSettings
from dfml.inversion.settings import InversionSettings
from dfml.jobs.settings import RuntimeSettings
from dfml.metalearning.settings import in_their_colours
from dfml.methods.settings import MethodSettings, PoolFacts
from dfml.networks.settings import LearnerSettings, NetworkSettings
from dfml.settings import ACCESS_LEVELS, DisagreementError, Name, Section, VariantError, VariantName, changed, distinct
from dfml.zoo.imported.card import ZooCard, card_at
from dfml.zoo.settings import ImportedZooSettings, PoolSettings, ZooSettings

Changed = TypeVar("Changed", bound=Section)


def _changed(section: Changed, values: Any) -> Changed:
    """`changed`, which takes what is no section of values for an error, too."""
    return changed(section, values) if isinstance(values, Mapping) else type(section).model_validate(values)


class Experiment(Section):
    """A whole experiment but for the methods' sections, which :data:`Config` adds."""

    experiment: Name = Field("demo", description="Name of the experiment and of its folder below `results/`.")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
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
    learner: LearnerSettings = Field(LearnerSettings(), description="The meta-learner's network.")
    zoos: dict[Name, ImportedZooSettings] = Field({}, description="Zoos that were trained elsewhere, by name.")
    pools: dict[Name, PoolSettings] = Field({"single": PoolSettings()}, min_length=1, description="Pools by name.")
    methods: tuple[str, ...] = ()  # of which names, and with which default, `Config` says
    custom_methods: dict[
        Name, Annotated[str, Field(description="Path of a Python file with a function `fit(context)`.")]
    ] = Field({}, description="Methods of your own by name, run after `methods` (docs/adding.md).")
    custom_networks: dict[
        Name, Annotated[str, Field(description="Path of a Python file with classes `Network` and `Options`.")]
    ] = Field({}, description="Network families of your own by name, for zoo and learner (docs/adding.md).")
    variants: dict[
        VariantName,
        Annotated[dict[str, Any], Field(description="Keys of the method's section, of `inversion`, of `learner`.")],
    ] = Field(
        {},
        description="Further rows: a method with some settings changed, `free-parallel: {bell: {mode: parallel}}`. "
        "`inversion` and `learner` below a variant change those sections for it alone (config/README.md).",
    )
    zoo: ZooSettings = Field(ZooSettings(), description="Zoo training.")
    inversion: InversionSettings = Field(InversionSettings(), description="Model inversion.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="Evaluation.")
    runtime: RuntimeSettings = Field(RuntimeSettings(), description="Running long jobs.")

    _no_repetition = field_validator("seeds", "shots", "methods", check_fields=False)(distinct)

    @model_validator(mode="after")
    def _sections_agree(self) -> "Experiment":
        if faults := list(faulty_variants(self)):
            raise VariantError(faults)
        if problems := list(disagreements(self)):
            raise DisagreementError(problems)
        return self

    def changes(self, method: str, *, of: str | None = None) -> Any:
        """What a variant changes of its method's own section, or of the section ``of``; nothing for any other row."""
        given, beside = self.variants.get(method, {}), changed_beside(method)
        if of is not None:
            return given.get(of, {}) if of in beside else {}
        return {key: value for key, value in given.items() if key not in beside}

    def given_section(self, method: str) -> MethodSettings | None:
        """A method's own settings, with what a variant changes; None if it has none."""
        key = section_key(method)
        return changed(getattr(self, key), self.changes(method)) if key else None

    def section(self, method: str) -> MethodSettings | None:
        """The same with nothing left to look up elsewhere."""
        own = self.given_section(method)
        return own and own.resolved(self.inversion_of(method))

    def inversion_of(self, method: str) -> InversionSettings:
        """The inversion's settings as a method sees them."""
        return _changed(self.inversion, self.changes(method, of="inversion"))

    def learner_of(self, method: str) -> LearnerSettings:
        """The network that a method trains."""
        return _changed(self.learner, self.changes(method, of="learner"))

    def zoo_of(self, dataset: str) -> ZooSettings:
        """How the models on a data set are trained."""
        given = self.datasets[dataset]
        epochs = {} if given.epochs is None else {"epochs": given.epochs}
        recolour = self.zoo.recolour and given.any_colours
        return changed(self.zoo, {**epochs, "recolour": recolour, "conv4": epochs, "resnet": epochs})

    def card(self, zoo: str) -> ZooCard:
        """What the owner of an imported zoo says of it; raises DataError where the card cannot be used."""
        path = Path(self.zoos[zoo].card).expanduser()
        return card_at(str(path), path.stat().st_mtime_ns if os.path.isfile(path) else 0)

    def bank_of(self, method: str) -> str:
        """Name of the bank that a method starts from, if it does: the inverter's, or that of the inverter's variant."""
        inverter = entry(method).inverter or self.inversion_of(method).inverter
        return f"{inverter}-{method.partition('-')[2]}" if self.changes(method, of="inversion") else inverter

    def base_of(self, method: str) -> str | None:
        """The method whose learner a method begins with, if it does: of a variant its namesake, where there is one."""
        base = entry(method).base(self.options(method))
        namesake = f"{base}-{method.partition('-')[2]}"
        return namesake if base and namesake in self.variants else base

    def options(self, method: str, pool: str | None = None) -> dict[str, Any]:
        """The same as plain values, on a pool as they hold there; empty if the method has no settings."""
        section = self.section(method)
        if section is not None and pool is not None and not self._any_colours(pool):
            section = in_their_colours(section)
        return {} if section is None else section.model_dump(mode="json")

    def _any_colours(self, pool: str) -> bool:
        """Whether colours say nothing of any class that the models of a pool know."""
        chosen = self.pools[pool]
        return all(self.datasets[name].any_colours for name in chosen.datasets) and all(
            self.zoos[name].recolour for name in chosen.zoos
        )

    def inapplicable(self, pool: str, method: str) -> str | None:
        """Why a method cannot run on a pool, or None if it can."""
        row, section, facts = entry(method), self.section(method), self.facts(pool, method)
        if (base := self.base_of(method)) and (reason := self.inapplicable(pool, base)):
            return reason
        needed, given = row.needed_access(self.options(method)), self.pools[pool].access
        if row.needs_zoo and ACCESS_LEVELS.index(needed) > ACCESS_LEVELS.index(given):
            return f"it needs the models' {needed}, the pool gives their {given} only"
        if facts.imported and row.imported == "none":
            return f"it wants more of a model than the imported ones of `{facts.imported[0]}` have"
        if row.imported == "features" and not facts.with_features:
            return f"no model of `{facts.imported[0]}` gives features"
        if row.same_architecture and len(facts.networks) + len(facts.imported) > 1:
            return "averaging weights needs models of one architecture"
        if row.same_architecture and facts.networks != (facts.learner,):
            return "the average of the models must have the meta-learner's architecture"
        return None if section is None else section.inapplicable(facts)

    def facts(self, pool: str, method: str = "") -> PoolFacts:
        """A pool as the section of a method sees it; its data sets and networks must be known."""
        chosen = self.pools[pool]
        networks = [self.networks[name] for name in chosen.networks if chosen.datasets]
        cards = [self.card(name) for name in chosen.zoos]
        trained = len(chosen.datasets) * sum(network.models or self.zoo.models for network in networks)
        return PoolFacts(
            name=pool,
            models=trained + sum(len(card.models) for card in cards),
            with_features=trained + sum(model.gives_features for card in cards for model in card.models),
            networks=tuple(network.architecture(stem_relu=self.zoo.stem_relu) for network in networks),
            datasets=chosen.read,
            sides=(*(self.datasets[name].side for name in chosen.datasets), *(s for card in cards for s in card.sides)),
            learner=self.learner_of(method).architecture(),
            learner_side=self.learner_of(method).side,
            imported=chosen.zoos,
        )

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Rows of the tables in their order: the listed methods, each before its variants, then the user's own."""
        origins = dict.fromkeys([*self.methods, *(name.partition("-")[0] for name in self.variants)])
        listed = [
            [*(name for name in self.methods if name == origin), *self._variants_of(origin)] for origin in origins
        ]
        return (*(name for names in listed for name in names), *self.custom_methods)

    def _variants_of(self, method: str) -> list[str]:
        return [name for name in self.variants if name.partition("-")[0] == method]

    def selected(self, pool: str) -> tuple[str, ...]:
        """Methods asked for on a pool, applicable or not."""
        chosen = self.pools[pool].methods
        return tuple(m for m in self.all_methods if chosen is None or m in chosen)

    def shots_of(self, pool: str, method: str) -> tuple[int, ...]:
        """Numbers of shots that a method is run at on a pool."""
        chosen = self.pools[pool]
        limits = [only for only in (chosen.shots, chosen.shots_of.get(method)) if only is not None]
        return tuple(shots for shots in self.shots if all(shots in only for only in limits))

    def most_shots(self, rows: Iterable[tuple[str, str]]) -> int:
        """The greatest number of shots at which any of these (pool, method) is run; 1 if none is."""
        return max((shots for pool, method in rows for shots in self.shots_of(pool, method)), default=1)

    def cells(self) -> list[Cell]:
        """Every learner of the experiment, in table order."""
        return [
            Cell(pool, method, shots, seed)
            for pool in self.pools
            for method in self.selected(pool)
            if self.inapplicable(pool, method) is None
            for shots in self.shots_of(pool, method)
            for seed in self.seeds
        ]

    def learners(self) -> list[Cell]:
        """Every cell whose learner is made: those of :meth:`cells` and those that their learners begin with."""
        found: dict[Cell, None] = {}
        for cell in self.cells():
            base = self.base_of(cell.method)
            found |= dict.fromkeys([replace(cell, method=base), cell] if base else [cell])
        return list(found)

    def inversions(self) -> dict[str, InversionSettings]:
        """With which settings every bank is recovered that a learner starts from, by its name."""
        starting = [c.method for c in self.learners() if entry(c.method).needs_inversion(self.options(c.method))]
        return {self.bank_of(method): self.inversion_of(method) for method in starting}

    def first_alike(self, cells: Iterable[Cell], *, across_shots: bool) -> dict[Cell, Cell]:
        """Of each of ``cells`` the first one that has the same learner, so that none is made twice.

        Args:
            cells: of the experiment.
            across_shots: also one of another number of shots, whose accuracies differ.
        """
        firsts: dict[tuple[object, ...], Cell] = {}
        found = {}
        for cell in cells:
            row = entry(cell.method)
            chosen = self.pools[cell.pool]
            pool = cell.pool if row.models_matter or chosen.zoos else (chosen.datasets, chosen.measured)
            shots = cell.shots if row.shots_matter or not across_shots else None
            found[cell] = firsts.setdefault((cell.method, cell.seed, pool, shots), cell)
        return found


def _method_sections() -> Iterator[tuple[str, Any]]:
    """The field of every method's section: its class and defaults, found by the catalogue."""
    for key, where in sections().items():
        module, name = where.split(":")
        section: type[MethodSettings] = getattr(import_module(module), name)
        users = ", ".join(f"`{method}`" for method in METHODS if section_key(method) == key)
        if not section.__doc__:
            raise TypeError(f"{where} needs a docstring: its first line describes the section `{key}`")
        about = f"Method{'s' if ',' in users else ''} {users}. {section.__doc__.splitlines()[0]}"
        yield key, (section, Field(section(), description=about))


_METHOD_NAMES: Any = Literal[tuple(METHODS)]

Config: type[Experiment] = create_model(
    "Config",
    __base__=Experiment,
    __doc__="A whole experiment.",
    methods=(
        tuple[_METHOD_NAMES, ...],
        Field(("random", "zoo_features", "free"), min_length=1, strict=False, description="Methods that are run."),
    ),
    **dict(_method_sections()),
)
"""The whole configuration: :class:`Experiment` with a section for every method that has settings."""


def changed_beside(method: str) -> tuple[str, ...]:
    """Sections that a variant of a method may change beside the method's own, where that has no key of their name."""
    key = section_key(method)
    own: Any = Config.model_fields[key].annotation if key else None
    return tuple(name for name in ("inversion", "learner") if own is None or name not in own.model_fields)
