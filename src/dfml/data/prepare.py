"""From a source of images to the files that zoo training and evaluation read."""

import logging
from collections.abc import Collection, Mapping, Sized
from pathlib import Path

from dfml.data.copies import without_copies
from dfml.data.images import SPLITS, class_images, packed_images, save_images
from dfml.data.known import KNOWN, KnownDataset
from dfml.data.listing import find_pictures
from dfml.data.packing import pack
from dfml.data.settings import EMBEDDED_FILES, DatasetSettings
from dfml.data.sources import embedded
from dfml.data.sources.folder import EXTENSIONS
from dfml.data.sources.layouts import Layout
from dfml.data.sources.opening import open_store
from dfml.data.sources.store import Store
from dfml.data.splits import ClassSplit, images_of_whole_copy, read_split, seeded_split
from dfml.errors import DataError, some

PILE = "pictures"
FOLDER_LICENCE = "not known to dfml: images of the user's folder"
_FOLDER_PARTS = {"train": "meta_train", "val": "meta_val", "test": "meta_test"}
_log = logging.getLogger(__name__)


def prepare_images(
    name: str,
    settings: DatasetSettings,
    folder: Path,
    *,
    resources: Path,
    splits: Path = Path("config/splits"),
    minimum_images: int = 2,
    minimum_classes: int = 1,
    evaluated: bool = True,
    needed: Collection[str] = SPLITS,
    workers: int = 1,
) -> None:
    """Write ``meta_train.npz``, ``meta_val.npz``, ``meta_test.npz`` and ``images.json`` of one data set.

    Classes are sorted by name within a split. Images inside a class keep the order of the source: of the
    array for embedded data, of the sorted file names for any other, part by part where there are several.

    Args:
        name: Name of the data set; for embedded data, which one.
        settings: Its configuration. A relative ``path`` or ``split`` is relative to the working directory.
        folder: Where the files go.
        resources: Folder of the embedded ``.npz`` files (``resources/embedded``).
        splits: Folder of the committed class splits.
        minimum_images: Fewest images a class of any split may have, such as shots + queries.
        minimum_classes: Fewest classes a split may have, such as ways.
        evaluated: Whether models are trained and learners evaluated on it. Of one that is only asked, the minima do not
            matter, and it may be pictures without classes.
        needed: Splits that have to be enough; others may be smaller, or have no class at all.
        workers: Threads that decode; they change nothing but the time.

    Raises:
        DataError: the images or the split are missing, damaged or too few.
        FileFormatError: a file of ours is.
    """
    least = (minimum_images, minimum_classes, needed) if evaluated else (1, 1, needed)
    if settings.source == "embedded":
        arrays = embedded.read_embedded(name, resources)
        stem = EMBEDDED_FILES[name]
        split = read_split(splits / f"{stem}.json", list(arrays), dataset=stem)
        _check(name, split, arrays, *least)
        images = {part: class_images(name, part, arrays, getattr(split, part), embedded.LICENCE) for part in SPLITS}
        save_images(folder, images, source=settings.source)
        return
    known = KNOWN.get(settings.source)
    store = open_store(_place("path", settings.path or ""))
    store, layout = find_pictures(store, settings.source)
    layout.warn()
    if not evaluated and settings.split is None and not known and len(layout.classes) < len(SPLITS):
        _prepare_pile(name, settings, folder, store, layout, workers)
        return
    if layout.pile and not layout.classes:
        raise DataError(
            f"{store.where} has {len(layout.pile)} images and no class folders; put the images of each class into a "
            "folder named after it (pictures without classes can only be asked by unlabelled_heads)"
        )
    if known:
        split = _known_split(settings.source, known, store, layout, splits)
    else:
        split = _folder_split(settings, store, layout)
    # Before any image is decoded, which may take minutes: a mistake in the split shows at once.
    _check(name, split, layout.classes, *least)
    parts = [part for part in SPLITS for c in getattr(split, part) for _ in layout.classes[c]]
    packed = pack(store, {c: layout.classes[c] for c in split.names}, side=settings.side, workers=workers)
    packed, copies = without_copies(packed, parts)
    _check(name, split, {c: range(count) for c, count in packed.counts.items()}, *least)
    licence = known.licence if known else FOLDER_LICENCE
    images, start = {}, 0
    for part in (part for part in SPLITS if getattr(split, part)):
        counts = {c: packed.counts[c] for c in getattr(split, part)}
        end = start + sum(counts.values())
        images[part] = packed_images(name, part, packed.x[start:end], counts, licence)
        start = end
    save_images(
        folder, images, source=settings.source, normalisation=known.normalisation if known else None, copies=copies
    )


def _prepare_pile(
    name: str, settings: DatasetSettings, folder: Path, store: Store, layout: Layout, workers: int
) -> None:
    """All pictures as one class of meta-train."""
    pictures = sorted([*layout.pile, *(path for images in layout.classes.values() for path in images)])
    packed = pack(store, {PILE: pictures}, side=settings.side, workers=workers)
    images = packed_images(name, "meta_train", packed.x, packed.counts, FOLDER_LICENCE)
    save_images(folder, {"meta_train": images}, source=settings.source)


def _place(key: str, path: str) -> Path:
    """A path of the configuration; raises a DataError where it is in the home of nobody."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DataError(f"`{key}`: {path} is in the home directory of a user who is not known here") from None


def _known_split(source: str, known: KnownDataset, store: Store, layout: Layout, splits: Path) -> ClassSplit:
    """The official split, if the copy is whole."""
    path = splits / f"{source}.json"
    wanted = images_of_whole_copy(path)
    found = {name: len(images) for name, images in layout.classes.items()}
    short = [
        f"{name} ({found.get(name, 0)} of {count})" for name, count in wanted.items() if found.get(name, 0) < count
    ]
    if short:
        images = sum(min(found.get(name, 0), count) for name, count in wanted.items())
        # A plain folder has its classes one folder deep, and a split names none that is not there.
        plain = known.depth == 1 and all(map(found.get, wanted))
        spare = f", or read what is there by `source: folder` with `split: {path}`" if plain else ""
        raise DataError(
            f"{store.where}: this copy of {known.label} is not whole: {images} of {known.total} images, fewer than "
            f"there should be in {some(short)}; complete it{spare}"
        )
    more = [f"{name} ({found[name]}, not {count})" for name, count in wanted.items() if found[name] > count]
    if more:
        _log.warning("classes with more images than %s has: %s", known.label, some(more))
    if unused := sorted(set(found) - set(wanted)):
        _log.warning("classes that the split of %s leaves out: %s", known.label, some(unused))
    split = read_split(path, list(layout.classes), dataset=source)
    folders = {_FOLDER_PARTS.get(part, ""): set(names) for part, names in layout.parts.items()}
    if any(names != set(getattr(split, part)) for part, names in folders.items() if part):
        _log.warning("the copy's own parts have other classes than the split of %s, which is used", known.label)
    return split


def _folder_split(settings: DatasetSettings, store: Store, layout: Layout) -> ClassSplit:
    """The split of the configuration, or that of the layout, or one that is drawn."""
    if settings.split is not None:
        return read_split(_place("split", settings.split), list(layout.classes))
    if not layout.parts:
        return seeded_split(list(layout.classes), seed=settings.split_seed, fractions=settings.fractions)
    if not {"test"} <= set(layout.parts) <= set(_FOLDER_PARTS):
        raise DataError(
            f"{store.where} has the parts {', '.join(layout.parts)} of different classes; a class split is made of "
            "train, val and test: add what is missing, or name a split file by `split`"
        )
    _log.info("the class split is that of the folders or lists %s", ", ".join(layout.parts))
    return ClassSplit(**{split: layout.parts.get(part, ()) for part, split in _FOLDER_PARTS.items()})


def _check(
    name: str,
    split: ClassSplit,
    images: Mapping[str, Sized],
    minimum_images: int,
    minimum_classes: int,
    needed: Collection[str],
) -> None:
    """Raise a DataError when a split that is needed has too few classes, or too few images of one; none is refused."""
    parts = [part for part in SPLITS if part in needed]
    for part in parts:
        classes = len(getattr(split, part))
        if classes < minimum_classes:
            spare = "" if "meta_train" in needed else ", all to meta-test for instance by `fractions: [0, 0, 1]`"
            raise DataError(
                f"{name}: {part} has {classes} classes, but {minimum_classes} are needed; "
                f"lower `ways`, add classes or change the class split{spare}"
            )
    if empty := [c for c in split.names if len(images[c]) == 0]:  # arrays have no truth value
        raise DataError(
            f"{name}: there is no image that can be used of {some(empty)}; add some "
            f"({', '.join(sorted(EXTENSIONS))}), or remove these classes"
        )
    names = [c for part in parts for c in getattr(split, part)]
    if short := [f"{c} ({len(images[c])})" for c in names if len(images[c]) < minimum_images]:
        raise DataError(
            f"{name}: every class needs at least {minimum_images} images; too few in: {some(short)}; "
            "lower `shots` or `evaluation.queries`, add images or take these classes out of the split"
        )
