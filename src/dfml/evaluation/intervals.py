"""Means, 95 % intervals and spreads: what every table and figure is made of. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Z_95 = 1.96


def interval95(values: Sequence[float] | np.ndarray) -> float:
    """Half-width of the 95 % interval of the mean of ``values``: 1.96 · std(ddof=0) / √n.

    The population form (ddof = 0) is the one the few-shot literature prints. Raises ValueError when
    ``values`` is empty.
    """
    vector = _vector(values)
    return float(Z_95 * vector.std(ddof=0) / np.sqrt(vector.size))


def combine_intervals(half_widths: Sequence[float] | np.ndarray) -> float:
    """Half-width of the interval of a mean of n independent means: √(Σ hᵢ²) / n.

    Exact where the n estimates share no randomness. Seeds that are evaluated on the same episodes share the episodes'
    difficulty; for them this is the lower end, and the plain mean of the half-widths the upper end. Data sets of as
    many classes get the same numbers of classes in their episodes, which correlates their answers slightly.
    """
    vector = _vector(half_widths)
    return float(np.sqrt(np.square(vector).sum()) / vector.size)


def seed_spread(values: Sequence[float] | np.ndarray) -> float | None:
    """Sample standard deviation (ddof = 1) over seeds; None for a single seed, where none is defined."""
    vector = _vector(values)
    return None if vector.size < 2 else float(vector.std(ddof=1))


def student95(values: Sequence[float] | np.ndarray) -> float | None:
    """Half-width of Student's 95 % interval of the mean of n ``values``: t(0.975, n − 1) · std(ddof=1) / √n.

    For values that vary by more than the episodes, such as those of seeds, and are too few for 1.96. None for a
    single one. Raises ValueError when ``values`` is empty.
    """
    from scipy.special import stdtrit  # slow to import, and jobs that evaluate have no use for it

    vector = _vector(values)
    if vector.size < 2:
        return None
    return float(stdtrit(vector.size - 1, 0.975) * vector.std(ddof=1) / np.sqrt(vector.size))


def _vector(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """A non-empty float64 vector [n], or ValueError."""
    vector = np.asarray(values, dtype=np.float64).reshape(-1)
    if vector.size == 0:
        raise ValueError("no value to summarise")
    return vector
