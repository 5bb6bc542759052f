"""Images that stand in a data set more than once, and what is done about those that would give meta-test away."""

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from dfml.artefacts.images import Copies
from dfml.data.packing import Packed
from dfml.errors import printable, some
from dfml.files.reading import LONGEST_TEXT

# Two images show the same if they differ by no more than this share of their contrast: means over all pixels of the
# differences, and of the distances from the image's own mean. Plain images are copies only if they are equal. In
# CIFAR-100 pairs of one photograph reach 0.17 and the next other pair is at 1.2; JPEG of quality 75 is mostly below.
NEAR = 0.25
# And if no field of 8 x 8 of the grey images differs by more grey levels on average: one more stroke of a drawing does.
NEAR_FIELD = 10.0
_FIELDS = 8
# Candidates by the same fields: no root mean square above this, nor above the share of contrast.
_CANDIDATE = 5.0
_CHUNK = 128
_log = logging.getLogger(__name__)


def without_copies(packed: Packed, parts: Sequence[str]) -> tuple[Packed, Copies]:
    """Leave out of meta-train and meta-val what meta-test shows, and count what stands there twice.

    A copy of an image of meta-test is a file of the same bytes, an image of the same pixels at the side used, or one
    that was merely encoded anew. Copies inside meta-train and meta-val, between these two, and inside meta-test stay:
    they are counted and said.

    Args:
        packed: All images of a data set. Its array is changed: rows move up into the place of those left out.
        parts: The split of every image.
    """
    rows = np.arange(len(packed.paths))
    is_test = np.array([part == "meta_test" for part in parts])
    same_files = _groups(packed.files)
    same_pixels = _groups(blake2b(image, digest_size=16).digest() for image in packed.x)
    across = [group for group in same_pixels if len({parts[row] for row in group}) > 1]
    shown: dict[int, int] = {}
    for group in [*same_files, *same_pixels]:
        if tests := [row for row in group if is_test[row]]:
            shown |= {row: tests[0] for row in group if not is_test[row]}
    rest = [row for row in rows[~is_test] if row not in shown]
    shown |= _encoded_anew(packed.x, np.array(rest, dtype=np.int64), rows[is_test])
    dropped: dict[Any, list[str]] = {"meta_train": [], "meta_val": []}
    for row in sorted(shown):
        dropped[parts[row]].append(printable(packed.paths[row])[-LONGEST_TEXT:])
    _say(packed.paths, same_files, same_pixels, shown)
    copies = Copies(
        same_files=len(same_files), same_pixels=len(same_pixels), across_splits=len(across), dropped=dropped
    )
    return _without(packed, shown), copies


def warn_of_same_pixels(images: Iterable[np.ndarray], names: Sequence[str]) -> None:
    """Say which images are equal in every pixel: a query that is a support image as well is no test of anything."""
    same = _groups(blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    _say_same("images of the same pixels", same, names)


def _groups(keys: Iterable[Hashable]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        found[key].append(row)
    return [group for group in found.values() if len(group) > 1]


def _encoded_anew(x: np.ndarray, rows: np.ndarray, tests: np.ndarray) -> dict[int, int]:
    """Of each of ``rows`` that shows the same as one of ``tests`` the nearest of these."""
    if not len(rows) or not len(tests):
        return {}
    wanted, most_wanted = _signatures(x, tests)
    lengths = (wanted**2).sum(1)
    found: dict[int, tuple[float, int]] = {}
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        own, most = _signatures(x, chunk)
        distances = (own**2).sum(1)[:, None] + lengths - 2 * own @ wanted.T
        bound = np.minimum(most[:, None], most_wanted) ** 2 * _FIELDS**2
        for one, other in zip(*np.nonzero(distances <= bound), strict=True):
            row, test = int(chunk[one]), int(tests[other])
            difference = np.abs(x[row].astype(np.int16) - x[test]).mean()
            close = np.abs(own[one] - wanted[other]).max() <= NEAR_FIELD
            if close and difference <= NEAR * min(_contrast(x[[row, test]])):
                found[row] = min(found.get(row, (np.inf, 0)), (difference, test))
    return {row: test for row, (_, test) in found.items()}


def _contrast(images: np.ndarray) -> np.ndarray:
    """How far pixels are from their image's and channel's mean, on average; ``[n]`` of uint8 ``[n, 3, side, side]``."""
    means = images.mean((2, 3), keepdims=True, dtype=np.float32)
    distances: np.ndarray = np.abs(images - means).mean((1, 2, 3))
    return distances


def _signatures(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rows are first compared by, without looking at every pixel of every pair.

    Returns:
        Means of the fields of the grey images, float32 ``[rows, 64]``; fields of a row or column differ by a pixel at
        most. And by how much they may differ (root mean square) in a copy, ``[rows]``.
    """
    edges = np.arange(_FIELDS) * x.shape[-1] // _FIELDS
    sizes = np.diff([*edges, x.shape[-1]])
    made = np.empty((len(rows), _FIELDS**2), dtype=np.float32)
    most = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        images = x[rows[start : start + _CHUNK]]
        fields = np.add.reduceat(np.add.reduceat(images.sum(1, dtype=np.int32), edges, axis=1), edges, axis=2)
        made[start : start + len(images)] = (fields / (3 * sizes[:, None] * sizes)).reshape(len(images), -1)
        most[start : start + len(images)] = np.minimum(_CANDIDATE, NEAR * _contrast(images))
    return made, most


def _without(packed: Packed, left_out: dict[int, int]) -> Packed:
    kept = [row for row in range(len(packed.paths)) if row not in left_out]
    for place, row in enumerate(kept):
        if place != row:
            packed.x[place] = packed.x[row]
    counts, start = {}, 0
    for name, count in packed.counts.items():
        counts[name] = sum(row not in left_out for row in range(start, start + count))
        start += count
    return Packed(packed.x[: len(kept)], [packed.paths[r] for r in kept], [packed.files[r] for r in kept], counts)


def _say(paths: list[str], same_files: list[list[int]], same_pixels: list[list[int]], shown: dict[int, int]) -> None:
    _say_same("files of the same bytes", same_files, paths)
    _say_same("images of the same pixels", same_pixels, paths)
    for row, test in sorted(shown.items()):
        _log.warning("left out %s: meta-test shows the same in %s", paths[row], paths[test])


def _say_same(what: str, groups: list[list[int]], names: Sequence[str]) -> None:
    if groups:
        named = some((" = ".join(names[row] for row in group) for group in groups), between="; ")
        _log.warning("%d groups of %s: %s", len(groups), what, named)
