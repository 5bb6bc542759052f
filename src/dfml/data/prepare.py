"""From a source of images to the files that zoo training and evaluation read."""

from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Protocol

from dfml.data.images import SPLITS, class_images, save_images
from dfml.data.sources import embedded
from dfml.data.sources import folder as folder_source
from dfml.data.splits import ClassSplit, read_split, seeded_split
from dfml.errors import DataError


class Settings(Protocol):
    """What is read of the configuration of a data set (`dfml.data.settings.DatasetSettings`)."""

    source: str
    path: str | None
    side: int
    split: str | None
    split_seed: int
    fractions: tuple[float, float, float]


def prepare_images(
    name: str,
    settings: Settings,
    folder: Path,
    *,
    resources: Path,
    splits: Path = Path("config/splits"),
    minimum_images: int = 2,
    minimum_classes: int = 1,
) -> None:
    """Write ``meta_train.npz``, ``meta_val.npz``, ``meta_test.npz`` and ``images.json`` of one data set.

    Classes are sorted by name within a split. Images inside a class keep the order of the source: of the
    array for embedded data, of the sorted file names for a folder.

    Args:
        name: Name of the data set; for embedded data, which one.
        settings: Its configuration. A relative ``path`` or ``split`` is relative to the working directory.
        folder: Where the files go.
        resources: Folder of the embedded ``.npz`` files (``resources/embedded``).
        splits: Folder of the committed class splits of embedded data.
        minimum_images: Fewest images a class of any split may have, such as shots + queries.
        minimum_classes: Fewest classes a split may have, such as ways.

    Raises:
        DataError: the images or the split are missing, damaged or too few.
        FileFormatError: a file of ours is.
    """
    if settings.source == "embedded":
        arrays = embedded.read_embedded(name, resources)
        licence = embedded.LICENCE
        stem = embedded.FILES[name]
        split = read_split(splits / f"{stem}.json", list(arrays), dataset=stem)
        _check(name, split, arrays, minimum_images, minimum_classes)
    else:
        files = folder_source.list_classes(Path(settings.path or "").expanduser())
        split = _folder_split(settings, list(files))
        # Before any image is decoded, which may take minutes: a mistake in the split shows at once.
        _check(name, split, files, minimum_images, minimum_classes)
        arrays = folder_source.read_classes({c: files[c] for c in split.names}, side=settings.side)
        licence = folder_source.LICENCE
    images = {part: class_images(name, part, arrays, getattr(split, part), licence) for part in SPLITS}
    save_images(folder, images, source=settings.source)


def _folder_split(settings: Settings, names: list[str]) -> ClassSplit:
    if settings.split is not None:
        return read_split(Path(settings.split).expanduser(), names)
    return seeded_split(names, seed=settings.split_seed, fractions=settings.fractions)


def _check(
    name: str, split: ClassSplit, images: Mapping[str, Sized], minimum_images: int, minimum_classes: int
) -> None:
    """Raise a DataError when a split has too few classes or a class too few images."""
    for part in SPLITS:
        classes = len(getattr(split, part))
        if classes < minimum_classes:
            raise DataError(
                f"{name}: {part} has {classes} classes, but {minimum_classes} are needed; "
                "lower `ways`, add classes or change the class split"
            )
    short = [f"{c} ({len(images[c])})" for c in split.names if len(images[c]) < minimum_images]
    if short:
        raise DataError(
            f"{name}: every class needs at least {minimum_images} images; too few in: {', '.join(short)}; "
            "lower `shots` or `evaluation.queries`, add images or take these classes out of the split"
        )
