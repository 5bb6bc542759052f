"""Some of the recovered images, each column under the name of its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dfml.artefacts.imported_zoo import AnyZoo
from dfml.files.arrays import read_arrays
from dfml.results.figures.style import empty_figure, panels

_CLASSES, _IMAGES = 12, 4
_INCHES = 0.85
_LONGEST = 13
"""Letters of a name that fit above an image."""


def recovered_figure(bank: Path | None, zoos: Sequence[AnyZoo], *, label_space: str) -> Figure:
    """The first slot's first images of the first classes that a bank holds, class by class.

    Args:
        bank: bank.npz, or None where nothing was recovered.
        zoos: the zoos of its pool, in the order in which the pool unites them.
        label_space: `global` or `per_model`, by which the pool numbers classes.

    Raises:
        FileFormatError: the bank is damaged.
    """
    if bank is None:
        return empty_figure("no images were recovered in this experiment")
    arrays = read_arrays(bank, frozenset({"pixels", "written"}), remedy="run the inversion again")
    names, pixels = _names(zoos, label_space), arrays["pixels"]
    held = [int(label) for label in np.flatnonzero(arrays["written"]) if label < len(names)][:_CLASSES]
    if not held:
        return empty_figure("the bank holds no images")
    shown = min(_IMAGES, pixels.shape[2])
    figure, axes = panels([_INCHES] * shown, len(held), width=_INCHES)
    for column, label in enumerate(held):
        for row in range(shown):
            panel = axes[row][column]
            panel.imshow(pixels[label, 0, row].transpose(1, 2, 0), interpolation="nearest")
            panel.set_axis_off()
        axes[0][column].set_title(_short(names[label]), loc="center", fontsize=7)
    return figure


def _names(zoos: Sequence[AnyZoo], label_space: str) -> list[str]:
    """Names of a pool's classes by their number there (`dfml.zoo.pool`)."""
    if label_space == "per_model":
        return [zoo.class_names[own] for zoo in zoos for model in zoo.models for own in model.classes]
    return [name for names in {zoo.dataset: zoo.class_names for zoo in zoos}.values() for name in names]


def _short(name: str) -> str:
    # A dollar sign starts a formula.
    text = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return text.replace("$", r"\$")
