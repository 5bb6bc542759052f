"""Whether prepared images are enough for the episodes asked for, seen from ``images.json``. Torch-free."""

from pathlib import Path

from dfml.artefacts.images import read_images_manifest
from dfml.errors import DataError


def check_prepared(folder: Path, *, minimum_classes: int, minimum_images: int) -> None:
    """Check every split of one prepared data set, so that a setting raised later fails before hours of work.

    Args:
        folder: What the rule `prepare_images` made.
        minimum_classes: Fewest classes of a split: ways.
        minimum_images: Fewest images of a class: shots + queries.

    Raises:
        DataError: a split or a class has too few.
        FileFormatError: ``images.json`` is missing, damaged or of another version.
    """
    for part, split in read_images_manifest(folder).splits.items():
        counts = dict(zip(split.names, split.counts, strict=True))
        if len(counts) < minimum_classes:
            raise DataError(
                f"{folder.name}: {part} has {len(counts)} classes, but {minimum_classes} are needed; lower `ways`"
            )
        short = [f"{name} ({count})" for name, count in counts.items() if count < minimum_images]
        if short:
            raise DataError(
                f"{folder.name}: every class needs at least {minimum_images} images; {part} has too few in: "
                f"{', '.join(short)}; lower `shots` or `evaluation.queries`"
            )
