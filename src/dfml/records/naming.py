"""How tables and figures name a method, and what they say of one that reads real images."""

from __future__ import annotations

from dfml.methods.catalogue import METHODS

UPPER_BOUND = "upper bound: reads the real meta-train images"


def method_label(method: str) -> str:
    """The catalogue's label of a method; its own name when the catalogue does not know it."""
    return METHODS[method].label if method in METHODS else method


def real_images_note(method: str) -> str:
    """The sentence that marks a method outside the data-free wall; "" for every other."""
    return UPPER_BOUND if method in METHODS and METHODS[method].reads_real_images else ""
