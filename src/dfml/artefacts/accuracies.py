"""``accuracies.npz``: right answers of every episode, beside the ``record.json`` that says their means.

Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from dfml.artefacts.record import Record
from dfml.errors import FileFormatError
from dfml.files.arrays import read_arrays, texts, whole
from dfml.files.atomic import atomic_write
from dfml.files.reading import digest_json, is_name

ACCURACIES = "accuracies.npz"
"""The file's name, in the folder of its record."""

FORMAT, VERSION = "dfml.accuracies", 1
_REMEDY = "delete it and run the rule evaluate again"
_KEY = ("dataset", "rule", "batch_norm")
_ARRAYS = frozenset({"format", "version", "answers", "right", *_KEY})

Key = tuple[str, str, str]
"""Data set, adaptation rule, batch-norm mode."""


def percent(right: np.ndarray, answers: int) -> np.ndarray:
    """Accuracies in percent, ``[episodes]``, of counts of right answers among ``answers`` each."""
    return 100 * (right / answers)


def accuracies_digest(accuracies: np.ndarray) -> str:
    """Digest of accuracies in percent, ``[episodes]``; the sixth decimal is the last that counts."""
    return digest_json([round(value, 6) for value in accuracies.tolist()])


@dataclass(frozen=True, eq=False)
class EpisodeAccuracies:
    """What a record's means are means of: exact counts, so that cells can be compared episode by episode.

    Attributes:
        answers: Query images of an episode, all classes together.
        right: Of these, how many were answered rightly: whole numbers ``[episodes]`` for every key, all of one length.
    """

    answers: int
    right: Mapping[Key, np.ndarray]

    def percent(self, key: Key) -> np.ndarray:
        """Accuracies in percent, ``[episodes]``; raises KeyError for what was not measured."""
        return percent(self.right[key], self.answers)

    def save(self, path: Path) -> None:
        """Write them, compressed, in the smallest whole numbers that hold ``answers``.

        Raises:
            DfmlError: the disk is full.
        """
        counts = np.stack(list(self.right.values())).astype(np.min_scalar_type(self.answers))
        keys = {name: np.array(column) for name, column in zip(_KEY, zip(*self.right, strict=True), strict=True)}
        facts = {"format": np.array(FORMAT), "version": np.array(VERSION), "answers": np.array(self.answers)}
        atomic_write(
            path, lambda partial: np.savez_compressed(partial, allow_pickle=False, **facts, **keys, right=counts)
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: missing, truncated, changed, of another format or version, or with arrays that do not fit
                together.
        """
        arrays = read_arrays(path, _ARRAYS, remedy=_REMEDY)
        try:
            told = texts(arrays["format"])
            keys = list(zip(*(texts(arrays[name]) for name in _KEY), strict=True))
        except ValueError as error:
            raise FileFormatError(f"{path} has inconsistent arrays ({error}); {_REMEDY}") from None
        if told != [FORMAT]:
            raise FileFormatError(f"{path} is not a {FORMAT} file; {_REMEDY}")
        if (version := whole(arrays["version"])) != VERSION:
            raise FileFormatError(f"{path} has format version {version}, expected {VERSION}; {_REMEDY}")
        right, answers = arrays["right"], whole(arrays["answers"])
        sound = right.ndim == 2 and right.size > 0 and len(right) == len(keys) == len(set(keys))
        sound = sound and all(is_name(name) for key in keys for name in key)
        if not sound or answers is None or answers < 1 or right.dtype != np.min_scalar_type(answers):
            raise FileFormatError(f"{path} has inconsistent arrays; {_REMEDY}")
        if int(right.max()) > answers:
            raise FileFormatError(f"{path} has more right answers than answers; {_REMEDY}")
        return cls(answers, dict(zip(keys, right, strict=True)))

    @classmethod
    def of_record(cls, path: Path, record: Record) -> Self:
        """Those beside the record at ``path``, seen to be what its numbers were made of.

        Raises:
            FileFormatError: they cannot be read, or are not the record's.
        """
        own = path.with_name(ACCURACIES)
        found = cls.load(own)
        digests = {(r.dataset, r.rule, r.batch_norm): r.accuracies_digest for r in record.results}
        if digests != {key: accuracies_digest(found.percent(key)) for key in found.right}:
            raise FileFormatError(
                f"{own} does not hold the accuracies of {path.name} beside it; "
                "delete both and run the rule evaluate again"
            )
        return found
