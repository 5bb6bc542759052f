"""How people keep images by class: class folders, also below folders of parts, or lists beside one folder of images."""

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from dfml.data.sources.folder import EXTENSIONS, is_image
from dfml.data.sources.lists import listed_classes, table_part
from dfml.data.sources.store import Store
from dfml.errors import DataError, some
from dfml.files.reading import LONGEST_NAME, is_name

# Names of folders and lists that hold a part of the images rather than a class; the parts in their order.
PARTS = {
    "train": "train",
    "training": "train",
    "meta_train": "train",
    "images_background": "background",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "meta_val": "val",
    "test": "test",
    "testing": "test",
    "meta_test": "test",
    "images_evaluation": "evaluation",
}
_ORDER = list(dict.fromkeys(PARTS.values()))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """Images by class.

    Attributes:
        classes: Paths in the store by class name in Unicode's form NFC, both sorted by code point; images of several
            parts one part after the other.
        parts: Class names of every part, if parts have different classes; empty otherwise.
        read: The parts that images are in; empty where they are in none.
        pile: Images that are of no class.
        left_out: How many files of each class's folder are not read, by extension or ``deeper folders``.
    """

    classes: dict[str, list[str]]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pile: tuple[str, ...] = ()
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    read: tuple[str, ...] = ()

    def warn(self) -> None:
        """Say of every class how many files are not read."""
        for name, kinds in self.left_out.items():
            what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            _log.warning("class %s: %d files are left out (%s)", name, kinds.total(), what)
        if self.pile and self.classes:
            _log.warning("%d images that are of no class are left out: %s", len(self.pile), some(self.pile))


def find_classes(store: Store, *, depth: int = 1) -> Layout:
    """Images by class, from names alone; of the contents only CSV lists are read.

    Lists are followed where the images lie in one folder, and beside class folders if they name the same classes.

    Args:
        store: Where they are. Folders that hold everything, one in the other, are passed over, but for a folder of test
            images alone.
        depth: Folders that the name of a class is made of.

    Raises:
        DataError: no class folders or lists, names that are not sound, or parts that share some classes only.
    """
    lists = [(PARTS[name], file.path) for file in store.files if (name := table_part(file.path)) in PARTS]
    folders = sorted({file.path.rpartition("/")[0] for file in store.files if is_image(file.path)}, key=len)
    if not _is_split([part for part, _ in lists]) or not folders:
        return _class_folders(store, depth)
    # Images in one folder may have others above it; folders of classes lie side by side.
    if all(f"{below}/".startswith(f"{above}/" if above else "") for above, below in pairwise(folders)):
        return _listed(store, lists)
    try:
        found = _listed(store, lists)
        if len(found.parts) == 1:
            raise DataError("a list of test images alone says nothing of the others")
    except DataError as error:
        why = str(error)
    else:
        images = [(name, path) for name, paths in found.classes.items() for path in paths]
        if all(unicodedata.normalize("NFC", path.split("/")[-2]) == name for name, path in images):
            return found if found.parts else _class_folders(store, depth)
        why = "their classes are not those of the folders"
    names = ", ".join(path for _, path in lists)
    _log.warning("%s: the lists %s beside the class folders are not followed (%s)", store.where, names, why)
    return _class_folders(store, depth)


def _is_split(parts: Collection[str]) -> bool:
    """Whether images in these parts can have been told apart by class: all may well be test images."""
    return len(set(parts)) > 1 or set(parts) == {"test"}


def _listed(store: Store, lists: Sequence[tuple[str, str]]) -> Layout:
    tables = dict(sorted(lists, key=lambda one: _ORDER.index(one[0])))
    if len(tables) < len(lists):
        twice = [path for part, path in lists if [one for one, _ in lists].count(part) > 1]
        raise DataError(f"{store.where} has several lists of one part, {', '.join(twice)}; keep one of them")
    parts = listed_classes(store, tables)
    listed = {path for classes in parts.values() for images in classes.values() for path in images}
    return by_part(store, parts, [f.path for f in store.files if is_image(f.path) and f.path not in listed])


def by_part(
    store: Store,
    parts: Mapping[str, Mapping[str, list[str]]],
    pile: Iterable[str] = (),
    left_out: Mapping[str, Counter[str]] | None = None,
) -> Layout:
    """Merge the classes of all parts; raises a DataError if parts share some of their classes only."""
    names = {part: set(classes) for part, classes in parts.items()}
    every = set().union(*names.values())
    alike = all(one == every for one in names.values())
    disjoint = sum(map(len, names.values())) == len(every)
    if len(names) > 1 and not alike and not disjoint:
        shared = sorted(name for name in every if sum(name in one for one in names.values()) > 1)
        alone = sorted(name for name in every if not all(name in one for one in names.values()))
        raise DataError(
            f"{store.where}: {', '.join(names)} share some of their classes only ({some(shared)}; not in all of them: "
            f"{some(alone)}); parts of the same classes are merged, parts of different classes are the class split"
        )
    merged: dict[str, list[str]] = {name: [] for name in sorted(every)}
    for classes in parts.values():
        for name, images in classes.items():
            merged[name] += images
    if odd := [name for name in merged if not is_name(name)]:
        raise DataError(
            f"{store.where}: names of classes have 1 to {LONGEST_NAME} characters, all printable; rename "
            f"{some(map(repr, odd))}"
        )
    split = {part: tuple(sorted(one)) for part, one in names.items()} if disjoint and _is_split(names) else {}
    read = tuple(part for part in parts if part)
    return Layout(merged, split, tuple(pile), dict(sorted((left_out or {}).items())), read)


def _class_folders(store: Store, depth: int) -> Layout:
    images = [tuple(file.path.split("/")) for file in store.files if is_image(file.path)]
    if not images:
        raise DataError(
            f"{store.where} holds no image files ({', '.join(sorted(EXTENSIONS))}); give a folder or an archive of such"
        )
    above = _wrapping([path[:-1] for path in images], depth)
    inside = [path[above:] for path in images]
    prefix = images[0][:above]
    tops = {path[0].lower() for path in inside if len(path) > 1}
    # A class may well be called `train`: parts are folders of folders, and all folders are parts.
    in_parts = (
        tops <= set(PARTS) and _is_split([PARTS[top] for top in tops]) and any(len(path) > depth + 1 for path in inside)
    )
    skipped = depth + 1 if in_parts else depth
    parts: dict[str, dict[str, list[str]]] = {}
    spellings: dict[str, str] = {}
    pile, left_out = [], dict[str, Counter[str]]()

    def key(folders: tuple[str, ...]) -> tuple[str, str]:
        part = PARTS[folders[0].lower()] if in_parts else ""
        spelt = "/".join(folders[skipped - depth : skipped])
        name = unicodedata.normalize("NFC", spelt)
        if spellings.setdefault(name, spelt) != spelt:
            raise DataError(
                f"{store.where}: two class folders are called {name!r} and differ in Unicode form only; merge them"
            )
        return part, name

    for folder in store.folders:  # those without an image, too
        folders = tuple(folder.split("/"))
        if folders[:above] == prefix and len(folders) == above + skipped:
            inner = folders[above:]
            if not in_parts or inner[0].lower() in PARTS:
                part, name = key(inner)
                parts.setdefault(part, {}).setdefault(name, [])
    for file in store.files:
        path = tuple(file.path.split("/"))
        if path[:above] != prefix:
            continue
        inner = path[above:]
        image = is_image(file.path)
        if len(inner) <= skipped:
            pile += [file.path] if image else []
            continue
        if in_parts and inner[0].lower() not in PARTS:
            continue  # other files in a folder of their own, such as annotations: all images are in parts
        part, name = key(inner[:skipped])
        if image and len(inner) == skipped + 1:
            parts[part][name].append(file.path)
        else:
            extension = os.path.splitext(path[-1])[1].lower() or "without extension"
            kind = "in deeper folders" if len(inner) > skipped + 1 else extension
            left_out.setdefault(name, Counter())[kind] += 1
    if not any(found for classes in parts.values() for found in classes.values()) and not pile:
        raise DataError(
            f"{store.where}: its sub-folders hold no image files ({', '.join(sorted(EXTENSIONS))}) themselves; "
            "`path` must be the folder directly above the class folders"
        )
    ordered = {part: parts[part] for part in ["", *_ORDER] if part in parts}
    return by_part(store, ordered, pile, left_out)


def _wrapping(folders: list[tuple[str, ...]], depth: int) -> int:
    """How many folders, one in the other, hold all images and are neither classes nor the part that all are of."""
    above = 0
    while all(len(one) > above + depth for one in folders) and len({one[above] for one in folders}) == 1:
        above += 1
    return above - (above > 0 and PARTS.get(folders[0][above - 1].lower()) == "test")
