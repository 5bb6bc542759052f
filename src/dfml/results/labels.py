"""Names that readers see, and their order, in tables and figures alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dfml.catalogue import entry

if TYPE_CHECKING:
    import pandas as pd

RULES = {
    "finetune": "fine-tuning",
    "centroid_euclidean": "centroid, Euclidean",
    "centroid_cosine": "centroid, cosine",
}
"""Adaptation rules: what turns the support images of a task into a classifier."""

BATCH_NORMS = {
    "transductive": "transductive (statistics of the query images)",
    "support": "support (statistics of the support images)",
}
"""Batch-norm modes: whose statistics normalise the query images."""


def in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The distinct ``names``: those among ``known`` first, in its order, then the others by alphabet."""
    order = {name: position for position, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))


def rule_label(rule: str) -> str:
    """Readable name of an adaptation rule."""
    return RULES.get(rule, rule)


def split_label(frame: pd.DataFrame) -> str:
    """Whose classes the episodes of a frame of results are of: ``meta-test``, or ``meta-val``."""
    return " and ".join(sorted(str(split).replace("_", "-") for split in frame["split"].unique()))


def batch_norm_label(mode: str) -> str:
    """Readable name of a batch-norm mode, with whose statistics it uses."""
    return BATCH_NORMS.get(mode, mode)


REAL_IMAGES = "reads the real meta-train images"
OTHER_DOMAIN = "reads unlabelled real images of another domain"


def method_label(method: str) -> str:
    """The catalogue's label of a method; its own name when the catalogue does not know it."""
    return entry(method).label


def real_images_note(method: str) -> str:
    """The sentence that marks a method outside the data-free wall; "" for every other."""
    known = entry(method)
    if not known.reads_real_images:
        return ""
    return OTHER_DOMAIN if known.other_domain else REAL_IMAGES


UNIT_FEATURES = (
    "not the plain Euclidean distance: the features of every model are scaled to unit length before they are joined, "
    "so their own lengths play no part; at 1 shot the answers are those of the cosine"
)


def rule_note(method: str, rule: str) -> str:
    """The sentence that marks a rule which is, for this method, not quite what its label says; "" for every other."""
    return UNIT_FEATURES if entry(method).joins_features and rule == "centroid_euclidean" else ""
