"""THE list of methods: what each is called, where it lives, what it is given and how it is drawn. Imports no torch.

A built-in method is a file or folder below ``dfml/methods/`` and an entry here; all else is derived from this list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dfml.settings import Access

COPIES = frozenset({"best_model", "average"})
"""Values of a setting ``start`` by which a learner begins with a model's weights."""

BEGUN_WITH = frozenset({"bank_heads", "procedural_heads", "mixed_heads"})
"""Methods that ``start`` may name, to begin with what they have learned; these begin with none themselves."""


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """One row of the tables.

    Attributes:
        label: Its name in tables and figures.
        fit: ``module:function``, imported when the method runs: an edit concerns its cells alone. Empty: a custom one.
        settings: ``module:Class`` of its section of the configuration; empty for a method without settings.
        section: The key of that section; empty: the method's own name. Several methods may share one.
        access: What it needs of every model, and is given of it (`dfml.zoo.access`).
        bank: Whether it starts from what the rule `invert` made; `by_option`: when its setting `generator` says so.
        inverter: Whose bank that is, if not that of `inversion.inverter`.
        inverts: Sections of the inversion settings that it depends on, beside the common ones; None: on none at all.
        learner: How its learner adapts, where methods that share their code differ in that.
        same_architecture: Whether all models must be of the meta-learner's own network.
        needs_zoo: Whether it is given the pool's zoos (all but the supervised references).
        models_matter, shots_matter: Whether its learner depends on the pool's models (or on data sets alone), on shots.
        imported: What it takes of a model from elsewhere: `answers` as by its access, or `features`; `none`: it cannot.
        joins_features: Whether its learner joins the features of several models, each scaled to unit length first.
        real_images: Whose meta-train images it reads: the pool's `own`, or those of the `other` data set it names.
        colour, marker: Its style in figures, of which no other method has both; empty: a spare one.
    """

    label: str
    fit: str = ""
    settings: str = ""
    section: str = ""
    access: Access = "weights"
    bank: Literal["never", "always", "by_option"] = "never"
    inverter: str | None = None
    inverts: tuple[str, ...] | None = None
    learner: Literal["maml", "anil", "protonet"] | None = None
    same_architecture: bool = False
    needs_zoo: bool = True
    models_matter: bool = True
    shots_matter: bool = True
    imported: Literal["answers", "features", "none"] = "answers"
    joins_features: bool = False
    real_images: Literal["none", "own", "other"] = "none"
    colour: str = ""
    marker: str = ""

    @property
    def reads_real_images(self) -> bool:
        """Whether it stands outside the data-free wall."""
        return self.real_images != "none"

    @property
    def other_domain(self) -> bool:
        """Whether the real images are of the data set that its setting `dataset` names, not of the pool's own."""
        return self.real_images == "other"

    def assignment(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the job of a cell is told of the method, as plain values: no more than what its learner depends on."""
        access = self.needed_access(options)
        return {"fit": self.fit, "settings": self.settings, "access": access, "learner": self.learner}

    def base(self, options: Mapping[str, Any]) -> str | None:
        """The method whose learner of the same pool and seed it begins with, if its setting `start` names one."""
        start = options.get("start")
        return start if start in BEGUN_WITH else None

    def needs_inversion(self, options: Mapping[str, Any]) -> bool:
        """Whether, with these settings, the method is given what the `invert` rule made."""
        if self.bank == "by_option":
            return options["generator"] == "inversion"
        return self.bank == "always"

    def needed_access(self, options: Mapping[str, Any]) -> Access:
        """What it needs of a model with these settings: everything where its weights are copied."""
        copies = options.get("start") in COPIES or options.get("statistics") == "batch"
        return "weights" if copies else self.access


def _then_meta(inverter: str, label: str, **facts: Any) -> MethodEntry:
    return MethodEntry(
        label=label,
        fit="dfml.methods.inversion_then_meta.loop:fit",
        settings="dfml.methods.inversion_then_meta.settings:InversionThenMetaSettings",
        section="inversion_then_meta",
        bank="always",
        inverts=(),
        inverter=inverter,
        **facts,
    )


def _purer(learner: Literal["maml", "anil", "protonet"], label: str, marker: str) -> MethodEntry:
    return MethodEntry(
        label=label,
        fit="dfml.methods.purer.loop:fit",
        settings="dfml.methods.purer.settings:PurerSettings",
        section="purer",
        inverts=(),
        learner=learner,
        imported="none",
        colour="#AA4499",
        marker=marker,
    )


def _bidf(section: str, label: str, *, access: Access, marker: str) -> MethodEntry:
    return MethodEntry(
        label=label,
        fit="dfml.methods.bidf_mkd.loop:fit",
        settings=f"dfml.methods.bidf_mkd.settings:{section}",
        access=access,
        inverts=("per_model",),
        imported="none",
        colour="#661100",
        marker=marker,
    )


def _heads(questions: str, section: str, label: str, *, colour: str = "#009E73", **facts: Any) -> MethodEntry:
    return MethodEntry(
        label=label,
        fit=f"dfml.methods.heads.alone:fit_{questions}",
        settings=f"dfml.methods.heads.settings:{section}HeadsSettings",
        access="weights" if "bank" in facts else "logits",  # the bank was recovered with weights
        inverts=() if "bank" in facts else None,
        shots_matter=False,
        colour=colour,
        **facts,
    )


def _supervised(learner: Literal["maml", "anil", "protonet"], label: str, **facts: Any) -> MethodEntry:
    section = "SupervisedProtonetSettings" if learner == "protonet" else "SupervisedSettings"
    return MethodEntry(
        label=label,
        fit="dfml.methods.supervised.loop:fit",
        settings=f"dfml.methods.supervised.settings:{section}",
        learner=learner,
        needs_zoo=False,
        real_images="own",
        models_matter=False,
        **facts,
    )


METHODS: dict[str, MethodEntry] = {
    "random": MethodEntry(
        label="Random",
        fit="dfml.methods.features.learners:fit_random",
        access="logits",
        models_matter=False,
        shots_matter=False,
        colour="#999999",
        marker="X",
    ),
    "best": MethodEntry(
        label="Best single",
        fit="dfml.methods.features.learners:fit_best",
        settings="dfml.methods.features.settings:BestSettings",
        shots_matter=False,
        colour="#F0E442",
        marker="<",
    ),
    "average": MethodEntry(
        label="Average",
        fit="dfml.methods.fusion.average:fit",
        settings="dfml.methods.fusion.settings:AverageSettings",
        same_architecture=True,
        shots_matter=False,
        colour="#E69F00",
        marker="v",
    ),
    "ota": MethodEntry(
        label="OTA",
        fit="dfml.methods.fusion.transport:fit",
        settings="dfml.methods.fusion.settings:OtaSettings",
        same_architecture=True,
        shots_matter=False,
        colour="#882255",
        marker=">",
    ),
    "dro": MethodEntry(
        label="DRO (reconstruction)",
        fit="dfml.methods.fusion.dro:fit",
        settings="dfml.methods.fusion.settings:DroSettings",
        same_architecture=True,
        shots_matter=False,
        colour="#332288",
        marker="h",
    ),
    "zoo_features": MethodEntry(
        label="Zoo features",
        fit="dfml.methods.features.learners:fit_zoo_features",
        shots_matter=False,
        imported="features",
        colour="#56B4E9",
        marker="s",
    ),
    "zoo_ensemble": MethodEntry(
        label="Zoo ensemble",
        fit="dfml.methods.features.learners:fit_zoo_ensemble",
        settings="dfml.methods.features.settings:ZooEnsembleSettings",
        shots_matter=False,
        imported="features",
        joins_features=True,
        colour="#0072B2",
        marker="D",
    ),
    "gen_ce": _then_meta("gen_ce", "GEN-CE, then meta", access="gradients", colour="#117733", marker="p"),
    "gen_bn": _then_meta("gen_bn", "GEN-BN, then meta", colour="#44AA99", marker="h"),
    "cmi": _then_meta("cmi", "CMI, then meta", imported="none", colour="#88CCEE", marker="<"),
    "deep_inversion": _then_meta("deep_inversion", "DeepInversion, then meta", colour="#DDCC77", marker=">"),
    "fast": _then_meta("fast", "Fast-Datafree, then meta", colour="#999933", marker="8"),
    "purer_maml": _purer("maml", "PURER-MAML", "d"),
    "purer_anil": _purer("anil", "PURER-ANIL", "p"),
    "purer_protonet": _purer("protonet", "PURER-ProtoNet", "H"),
    "bidf_mkd": _bidf("BidfMkdSettings", "BiDf-MKD", access="gradients", marker="s"),
    "bidf_mkd_black_box": _bidf("BidfMkdBlackBoxSettings", "BiDf-MKD (black box)", access="logits", marker="X"),
    "tgr": MethodEntry(
        label="TGR",
        fit="dfml.methods.tgr.loop:fit",
        settings="dfml.methods.tgr.settings:TgrSettings",
        inverts=("per_model",),
        imported="none",
        colour="#6699CC",
        marker="D",
    ),
    "free": MethodEntry(
        label="FREE",
        fit="dfml.methods.free.loop:fit",
        settings="dfml.methods.free.settings:FreeSettings",
        bank="by_option",
        inverts=("five",),
        colour="#D55E00",
        marker="o",
    ),
    "free_official": MethodEntry(
        label="FREE (official)",
        fit="dfml.methods.free.loop:fit",
        settings="dfml.methods.free.settings:FreeOfficialSettings",
        bank="by_option",
        inverts=("five",),
        colour="#CC79A7",
        marker="P",
    ),
    "free_heads": MethodEntry(
        label="FREE + heads",
        fit="dfml.methods.free.loop:fit",
        settings="dfml.methods.free.settings:FreeHeadsSettings",
        bank="by_option",
        inverts=("five",),
        colour="#009E73",
        marker="^",
    ),
    "bank_heads": _heads("bank", "Bank", "Heads on the bank", bank="always", marker="v"),
    "procedural_heads": _heads("procedural", "Procedural", "Heads on procedural images", marker="P"),
    "mixed_heads": _heads("bank", "Mixed", "Heads on both", bank="always", marker="D"),
    "noise_heads": _heads("noise", "Noise", "Heads on noise", colour="#BBBBBB", marker="^"),
    "unlabelled_heads": _heads(
        "unlabelled", "Unlabelled", "Heads on unlabelled images", real_images="other", colour="#444444", marker="^"
    ),
    "supervised_maml": _supervised("maml", "Supervised MAML", colour="#000000", marker="*"),
    "supervised_anil": _supervised("anil", "Supervised ANIL", colour="#555555", marker="*"),
    "supervised_protonet": _supervised("protonet", "Supervised ProtoNet", colour="#000000", marker="H"),
}


def entry(method: str) -> MethodEntry:
    """The row of a method, or of the method that a variant such as ``free-parallel`` changes.

    One that is not listed is the user's own: it is given the zoos and nothing else.
    """
    name, _, variant = method.partition("-")
    known = METHODS.get(name) or MethodEntry(label=name)
    return replace(known, label=f"{known.label}, {variant}", colour="", marker="") if variant else known


def section_key(method: str) -> str:
    """The key of a method's section of the configuration; empty if it has no settings."""
    known = entry(method)
    return (known.section or method.partition("-")[0]) if known.settings else ""


def sections() -> dict[str, str]:
    """``module:Class`` of every section by its key, in the order of the methods."""
    return {section_key(method): known.settings for method, known in METHODS.items() if known.settings}
