"""How tables and figures name a method, and what they say of one that reads real images."""

from __future__ import annotations

from dfml.methods.catalogue import entry

UPPER_BOUND = "upper bound: reads the real meta-train images"
OTHER_DOMAIN = "reads unlabelled real images of another domain"


def method_label(method: str) -> str:
    """The catalogue's label of a method; its own name when the catalogue does not know it."""
    return entry(method).label


def real_images_note(method: str) -> str:
    """The sentence that marks a method outside the data-free wall; "" for every other."""
    known = entry(method)
    if not known.reads_real_images:
        return ""
    return OTHER_DOMAIN if known.other_domain else UPPER_BOUND
