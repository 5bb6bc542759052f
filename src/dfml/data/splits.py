"""Which classes are for meta-training, meta-validation and meta-testing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from dfml.artefacts.images import SPLITS
from dfml.compute.seeds import numpy_rng
from dfml.data.sources.lists import CLASS_COLUMNS, LARGEST_LIST, read_rows
from dfml.errors import DataError, FileFormatError, some
from dfml.files.reading import LARGEST_JSON, is_name, parse_json, read_at_most

FORMAT = "dfml.split"
VERSION = 1
_CSV_PARTS = ("train", "val", "test")
_PART_OF = {
    **dict(zip(_CSV_PARTS, SPLITS, strict=True)),
    **{split: split for split in SPLITS},
    "valid": "meta_val",
    "validation": "meta_val",
}
_SHAPE = (
    'a split file is JSON {"format": "dfml.split", "version": 1, "dataset": …, "meta_train": [classes], "meta_val": '
    '[…], "meta_test": […]}, or CSV with a first line `label,split` and one line per class; docs/your_images.md '
    "shows both"
)


@dataclass(frozen=True)
class ClassSplit:
    """Disjoint class names of the three splits, each sorted by code point; all but meta-test may be empty."""

    meta_train: tuple[str, ...]
    meta_val: tuple[str, ...]
    meta_test: tuple[str, ...]

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for split in SPLITS:
            names = getattr(self, split)
            if not names and split == "meta_test":
                raise DataError("class split: meta_test has no classes; it needs at least one")
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
    """Read a class split. Names are compared in Unicode's form NFC, and returned as the data spells them.

    Args:
        path: JSON file ``{"format": "dfml.split", "version": 1, "dataset": ..., "meta_train": [...], ...}``; a CSV file
            whose first line names the columns ``label`` and ``split``, with one line per class; or a folder with
            ``train.csv``, ``val.csv`` and ``test.csv``, each with a column ``label``.
        available: Class names that the data has. Classes not named in the split are left out.
        dataset: When given, the data set that a JSON file must be for.

    Raises:
        FileFormatError: the file is missing, or no split file.
        DataError: a list is missing or wrong, classes repeat, or the data lacks some of them.
    """
    spelt = {normalize("NFC", name): name for name in available}
    lists = _listed(path) if os.path.isdir(path) or path.suffix.lower() == ".csv" else _declared(path, dataset)
    # A class that the data lacks keeps its name, which the message quotes.
    known = {split: tuple(spelt.get(normalize("NFC", name), name) for name in names) for split, names in lists.items()}
    try:
        found = ClassSplit(**known)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    unknown = sorted(set(found.names) - set(available))
    if unknown:
        raise DataError(
            f"{path}: the data has no classes {some(map(repr, unknown))}; "
            "correct the names, or take them out of the split"
        )
    return found


def split_files(path: Path) -> list[Path]:
    """The files that a class split is read from: of a folder its three lists."""
    return [path / f"{name}.csv" for name in _CSV_PARTS] if os.path.isdir(path) else [path]


def images_of_whole_copy(path: Path) -> dict[str, int]:
    """How many images every class of a whole copy has, which the committed splits of public data sets say.

    Raises:
        FileFormatError: the file is missing or damaged.
    """
    content = _content(path)
    names = [name for split in SPLITS for name in content[split]]
    told: Any = content.get("images")
    return {name: told if isinstance(told, int) else told[name] for name in names}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_at_most(path, LARGEST_JSON))
    except OSError as error:
        raise FileFormatError(f"cannot read the class split {path} ({error.strerror}); {_SHAPE}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is no class split ({error}); {_SHAPE}") from error
    told = (content.get("format"), content.get("version")) if isinstance(content, dict) else None
    if told != (FORMAT, VERSION):
        raise FileFormatError(f"{path} is no class split of this version (its format and version: {told}); {_SHAPE}")
    return dict(content)


def _declared(path: Path, dataset: str | None) -> dict[str, tuple[str, ...]]:
    content = _content(path)
    if dataset is not None and content.get("dataset") != dataset:
        raise DataError(f"{path}: is the split of {content.get('dataset')!r}, not of {dataset!r}")
    lists = {}
    for split in SPLITS:
        names = content.get(split)
        if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
            raise DataError(f"{path}: {split!r} must be a list of class names")
        lists[split] = tuple(names)
    return lists


def _listed(path: Path) -> dict[str, tuple[str, ...]]:
    """Class names by split of CSV lists, each name once."""
    lists: dict[str, dict[str, None]] = {split: {} for split in SPLITS}
    for file in split_files(path):
        columns = (CLASS_COLUMNS,) if path.is_dir() else (CLASS_COLUMNS, ("split", "part", "subset"))
        try:
            rows = read_rows(read_at_most(file, LARGEST_LIST), str(file), columns)
        except OSError as error:
            raise FileFormatError(f"cannot read the class split {file} ({error.strerror}); {_SHAPE}") from error
        except DataError as error:
            raise FileFormatError(f"{error}; {_SHAPE}") from None
        for name, *told in rows:
            part = (told[0] if told else file.stem).lower()
            if part not in _PART_OF:
                raise DataError(f"{file}: {name!r} is in the split {part!r}; write train, val or test")
            if not is_name(name):
                raise DataError(f"{file}: {name!r} is no name of a class")
            lists[_PART_OF[part]][name] = None
    return {split: tuple(names) for split, names in lists.items()}


def seeded_split(names: Sequence[str], *, seed: int, fractions: Sequence[float]) -> ClassSplit:
    """Draw a class split that depends on the set of names, the seed and the fractions only.

    Args:
        names: Class names in any order.
        seed: Seed of the draw.
        fractions: Shares of meta-train, meta-val and meta-test; they sum to 1. One of 0 gets none. Meta-val and
            meta-test get their share rounded, but at least one class; meta-train gets the rest, without it meta-test.

    Raises:
        DataError: there are fewer classes than splits with a share, or none would be left for the rest.
    """
    ordered = sorted(set(names))
    validation = max(1, round(fractions[1] * len(ordered))) if fractions[1] else 0
    test = max(1, round(fractions[2] * len(ordered))) if fractions[0] else len(ordered) - validation
    train = len(ordered) - validation - test
    if min(test, train) < 0 or test == 0 or (train == 0 and fractions[0]):
        shared = sum(share > 0 for share in fractions)
        raise DataError(
            f"class split: {len(ordered)} classes cannot be shared out as {tuple(fractions)}; "
            f"at least {shared} are needed, one for each split with a share (`fractions: [0, 0, 1]`: all to meta-test)"
        )
    order = numpy_rng(seed, "class_split").permutation(len(ordered))
    drawn = [ordered[i] for i in order]
    return ClassSplit(
        meta_train=tuple(drawn[:train]),
        meta_val=tuple(drawn[train : train + validation]),
        meta_test=tuple(drawn[train + validation :]),
    )
