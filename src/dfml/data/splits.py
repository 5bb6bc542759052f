"""Which classes are for meta-training, meta-validation and meta-testing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfml.compute.seeds import numpy_rng
from dfml.errors import DataError
from dfml.files.reading import is_name, read_json

FORMAT = "dfml.split"
VERSION = 1
_SHOWN = 20


@dataclass(frozen=True)
class ClassSplit:
    """Disjoint class names of the three splits, each sorted by code point."""

    meta_train: tuple[str, ...]
    meta_val: tuple[str, ...]
    meta_test: tuple[str, ...]

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for split in ("meta_train", "meta_val", "meta_test"):
            names = getattr(self, split)
            if not names:
                raise DataError(f"class split: {split} has no classes; every split needs at least one")
            for name in names:
                if name in owner:
                    raise DataError(
                        f"class split: class {name!r} is in {owner[name]} and again in {split}; list every class once"
                    )
                owner[name] = split
            object.__setattr__(self, split, tuple(sorted(names)))

    @property
    def names(self) -> tuple[str, ...]:
        """All class names, meta-train first."""
        return self.meta_train + self.meta_val + self.meta_test


def read_split(path: Path, available: Sequence[str], *, dataset: str | None = None) -> ClassSplit:
    """Read a committed class split.

    Args:
        path: JSON file ``{"format": "dfml.split", "version": 1, "dataset": ..., "meta_train": [...], ...}``.
        available: Class names that the data has. Classes not named in the split are left out.
        dataset: When given, the data set that the file must be for.

    Raises:
        FileFormatError: the file is missing, not JSON or of another version.
        DataError: a list is missing or wrong, classes repeat, or the data lacks some of them.
    """
    content = read_json(path, format=FORMAT, version=VERSION)
    if dataset is not None and content.get("dataset") != dataset:
        raise DataError(f"{path}: is the split of {content.get('dataset')!r}, not of {dataset!r}")
    lists = {}
    for split in ("meta_train", "meta_val", "meta_test"):
        names = content.get(split)
        if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
            raise DataError(f"{path}: {split!r} must be a list of class names")
        lists[split] = tuple(names)
    try:
        found = ClassSplit(**lists)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    unknown = sorted(set(found.names) - set(available))
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise DataError(
            f"{path}: the data has no classes {', '.join(map(repr, unknown[:_SHOWN]))}{more}; "
            "correct the names, or take them out of the split"
        )
    return found


def seeded_split(names: Sequence[str], *, seed: int, fractions: Sequence[float]) -> ClassSplit:
    """Draw a class split that depends on the set of names, the seed and the fractions only.

    Args:
        names: Class names in any order.
        seed: Seed of the draw.
        fractions: Shares of meta-train, meta-val and meta-test; they sum to 1. Meta-val and meta-test get
            their share rounded, but at least one class; meta-train gets the rest.

    Raises:
        DataError: there are fewer than three classes, or none would be left for meta-train.
    """
    ordered = sorted(set(names))
    validation = max(1, round(fractions[1] * len(ordered)))
    test = max(1, round(fractions[2] * len(ordered)))
    train = len(ordered) - validation - test
    if train < 1:
        raise DataError(
            f"class split: {len(ordered)} classes cannot be shared out as {tuple(fractions)}; "
            "at least three classes are needed, one for each split"
        )
    order = numpy_rng(seed, "class_split").permutation(len(ordered))
    drawn = [ordered[i] for i in order]
    return ClassSplit(
        meta_train=tuple(drawn[:train]),
        meta_val=tuple(drawn[train : train + validation]),
        meta_test=tuple(drawn[train + validation :]),
    )
