"""Labels as users give them: whole numbers or texts, in a list, an array or a tensor."""

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any
from unicodedata import normalize

import numpy as np
from torch import Tensor

from dfml.errors import DataError
from dfml.files.reading import LONGEST_NAME, is_name

Label = int | str
Labels = Sequence[Label] | np.ndarray | Tensor

_INTEGERS = range(-(2**63), 2**63)


def read_labels(labels: Labels, images: int) -> tuple[list[Label], list[int]]:
    """The classes that labels name, sorted, and for every image the position of its class.

    Args:
        labels: one for each image, all whole numbers or all texts, which become Unicode's form NFC. Numbers are names:
            they need not begin at 0.
        images: how many images there are.

    Raises:
        DataError: a label is missing or neither of these, both are mixed, or there are not as many labels as images or
            fewer than two classes.
    """
    if isinstance(labels, str | bytes | Mapping | Set) or not hasattr(labels, "__len__"):
        raise DataError(f"labels must be a list, an array or a tensor, one for each image, not {labels!r:.80}")
    if isinstance(labels, np.ndarray | Tensor):
        if labels.ndim != 1:
            raise DataError(f"labels must have one dimension, not shape {tuple(labels.shape)}")
        labels = labels.tolist()
    listed = [_plain(label) for label in labels]
    for position, label in enumerate(listed):
        _check(label, position)
    if len(listed) != images:
        raise DataError(f"there are {images} images and {len(listed)} labels; give one label for each image")
    if len({type(label) for label in listed}) > 1:
        raise DataError("some labels are whole numbers and some are texts; give all of one kind")
    names = sorted(set(listed))
    if len(names) < 2:
        raise DataError(
            f"all images have the label {names[0]!r}: a classifier needs at least two classes; add images of another"
        )
    places = {name: place for place, name in enumerate(names)}
    return names, [places[label] for label in listed]


def _plain(label: Any) -> Any:
    """Numbers of numpy and torch, and members of enumerations, as Python's own."""
    if getattr(label, "ndim", None) == 0:
        return label.item()
    if isinstance(label, int) and not isinstance(label, bool):
        return int(label)  # a subclass would be looked for in a range one number after the other
    return normalize("NFC", str.__str__(label)) if isinstance(label, str) else label


def _check(label: Any, position: int) -> None:
    if label is None or label == "" or (isinstance(label, float) and math.isnan(label)):
        raise DataError(f"the label of image {position} is missing; label every image, or leave the image out")
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise DataError(f"the label of image {position} is {label!r:.80}; labels are whole numbers or texts")
    if isinstance(label, str) and not is_name(label):
        raise DataError(
            f"the label of image {position}, {label!r:.80}, is no name: use up to {LONGEST_NAME} printable characters"
        )
    if isinstance(label, int) and label not in _INTEGERS:
        raise DataError(f"the label of image {position}, {label!s:.20}…, is beyond 64 bits; use a smaller number")
