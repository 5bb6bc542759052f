"""The methods: where each lives and what it is given. Torch-free, so that the workflow can ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class MethodEntry:
    """One row of the tables.

    Attributes:
        module: The module that fits it; imported when the method runs, so an edit concerns its cells alone. None for
            a method whose file the user names in `custom_methods`.
        label: Its name in tables and figures.
        inverter: Whose bank it starts from, if not that of `inversion.inverter`.
        needs_zoo: Whether it is given the pool's zoos (all but the one that reads real images instead).
        bank: Whether it starts from the generator and bank of the `invert` rule; `by_option`: when its
            setting `generator` says `inversion`.
        inverts: Sections of the inversion settings that it depends on beside the common ones; None where it neither
            recovers images nor reads recovered ones.
        reads_real_images: Whether it stands outside the data-free wall.
        other_domain: Whether these are of the data set that its setting `dataset` names, not of the pool's own.
    """

    module: str | None
    label: str
    needs_zoo: bool = True
    bank: Literal["never", "always", "by_option"] = "never"
    inverts: tuple[str, ...] | None = None
    reads_real_images: bool = False
    other_domain: bool = False
    inverter: str | None = None

    def needs_inversion(self, options: Mapping[str, Any]) -> bool:
        """Whether, with these settings, the method is given what the `invert` rule made."""
        if self.bank == "by_option":
            return options["generator"] == "inversion"
        return self.bank == "always"


UPPER_BOUND: dict[str, bool] = {"needs_zoo": False, "reads_real_images": True}


def _then_meta(inverter: str, label: str) -> MethodEntry:
    module = "dfml.methods.inversion_then_meta"
    return MethodEntry(module, label, bank="always", inverts=(), inverter=inverter)


METHODS: dict[str, MethodEntry] = {
    "random": MethodEntry("dfml.methods.random", "Random"),
    "best": MethodEntry("dfml.methods.best", "Best single"),
    "average": MethodEntry("dfml.methods.average", "Average"),
    "ota": MethodEntry("dfml.methods.ota", "OTA"),
    "dro": MethodEntry("dfml.methods.dro", "DRO (reconstruction)"),
    "zoo_features": MethodEntry("dfml.methods.zoo_features", "Zoo features"),
    "zoo_ensemble": MethodEntry("dfml.methods.zoo_ensemble", "Zoo ensemble"),
    "gen_ce": _then_meta("gen_ce", "GEN-CE, then meta"),
    "gen_bn": _then_meta("gen_bn", "GEN-BN, then meta"),
    "cmi": _then_meta("cmi", "CMI, then meta"),
    "deep_inversion": _then_meta("deep_inversion", "DeepInversion, then meta"),
    "fast": _then_meta("fast", "Fast-Datafree, then meta"),
    "purer_maml": MethodEntry("dfml.methods.purer", "PURER-MAML", inverts=()),
    "purer_anil": MethodEntry("dfml.methods.purer", "PURER-ANIL", inverts=()),
    "purer_protonet": MethodEntry("dfml.methods.purer", "PURER-ProtoNet", inverts=()),
    "bidf_mkd": MethodEntry("dfml.methods.bidf_mkd", "BiDf-MKD", inverts=("per_model",)),
    "bidf_mkd_black_box": MethodEntry("dfml.methods.bidf_mkd", "BiDf-MKD (black box)", inverts=("per_model",)),
    "tgr": MethodEntry("dfml.methods.tgr", "TGR", inverts=("per_model",)),
    "free": MethodEntry("dfml.methods.free", "FREE", bank="by_option", inverts=("five",)),
    "free_official": MethodEntry("dfml.methods.free", "FREE (official)", bank="by_option", inverts=("five",)),
    "free_heads": MethodEntry("dfml.methods.free_heads", "FREE + heads", bank="always", inverts=("five",)),
    "noise_heads": MethodEntry("dfml.methods.noise_heads", "Heads on noise"),
    "unlabelled_heads": MethodEntry(
        "dfml.methods.unlabelled_heads", "Heads on unlabelled images", reads_real_images=True, other_domain=True
    ),
    "supervised_maml": MethodEntry("dfml.methods.supervised_maml", "Supervised MAML", **UPPER_BOUND),
    "supervised_anil": MethodEntry("dfml.methods.supervised_anil", "Supervised ANIL", **UPPER_BOUND),
    "supervised_protonet": MethodEntry("dfml.methods.supervised_protonet", "Supervised ProtoNet", **UPPER_BOUND),
}


def entry(method: str) -> MethodEntry:
    """The row of a method; one that is not listed is the user's own: it is given the zoos and nothing else."""
    return METHODS.get(method) or MethodEntry(None, method)
