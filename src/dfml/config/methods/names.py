"""Names of the methods, and what the configuration must know of them."""

from typing import Literal

MethodName = Literal[
    "random",
    "best",
    "average",
    "ota",
    "dro",
    "zoo_features",
    "zoo_ensemble",
    "gen_ce",
    "gen_bn",
    "cmi",
    "deep_inversion",
    "fast",
    "purer_maml",
    "purer_anil",
    "purer_protonet",
    "bidf_mkd",
    "bidf_mkd_black_box",
    "tgr",
    "free",
    "free_official",
    "free_heads",
    "noise_heads",
    "unlabelled_heads",
    "supervised_maml",
    "supervised_anil",
    "supervised_protonet",
]

# Methods that combine the weights of all models, which must then be of the learner's own architecture.
FUSIONS = frozenset({"average", "ota", "dro"})

# Methods whose section does not bear their own name, because several share it.
SECTIONS: dict[str, str] = {
    "gen_ce": "inversion_then_meta",
    "gen_bn": "inversion_then_meta",
    "cmi": "inversion_then_meta",
    "deep_inversion": "inversion_then_meta",
    "fast": "inversion_then_meta",
    "purer_maml": "purer",
    "purer_anil": "purer",
    "purer_protonet": "purer",
}

Access = Literal["logits", "gradients", "weights"]

# What a method is given of every model, and no more (`dfml.zoo.access`): answers, their derivatives with respect to the
# images as well, or everything.
ACCESS: dict[str, Access] = {
    "random": "logits",
    "gen_ce": "gradients",
    "bidf_mkd": "gradients",
    "bidf_mkd_black_box": "logits",
    "noise_heads": "logits",
    "unlabelled_heads": "logits",
}
COPIES = frozenset({"best_model", "average"})
LEVELS: tuple[Access, ...] = ("logits", "gradients", "weights")


def needed_access(method: str, start: str | None = None) -> Access:
    """What ``method`` needs of a model; everything unless it is known to need less.

    A learner that starts from a model's weights (``start`` is its setting of that name) needs these, whatever the
    method does afterwards.
    """
    return "weights" if start in COPIES else ACCESS.get(method, "weights")
