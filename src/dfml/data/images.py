"""Images by class, and the files they are kept in (``images.json`` beside one ``.npz`` per split)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfml.artefacts.images import MANIFEST, SPLITS, Copies, ImagesManifest, SplitEntry
from dfml.errors import DataError, FileFormatError
from dfml.files.arrays import read_arrays, texts, whole
from dfml.files.atomic import atomic_write
from dfml.files.reading import is_name, sha256_file

# The arrays beside a manifest are of its format.
_FORMAT, _VERSION = ImagesManifest.FORMAT, ImagesManifest.VERSION
_ARRAYS = frozenset({"format", "version", "dataset", "split", "licence", "names", "x", "y"})


@dataclass(frozen=True, eq=False)
class ClassImages:
    """The images of the classes of one split.

    Classes are in the order of ``names`` (sorted by code point when made by `prepare_images`), images inside
    a class in the order of their source, so an index pair (class, image) means the same picture everywhere.

    Attributes:
        dataset: Name of the data set.
        split: ``meta_train``, ``meta_val`` or ``meta_test``.
        names: Class names.
        images: One uint8 tensor ``[n_i, channels, side, side]`` per class.
        licence: Under which terms the images may be used.
    """

    dataset: str
    split: str
    names: tuple[str, ...]
    images: list[Tensor]
    licence: str

    def __post_init__(self) -> None:
        where = f"{self.dataset}/{self.split}"
        if self.split not in SPLITS:
            raise DataError(f"{where}: the split must be one of {', '.join(SPLITS)}")
        if not self.names or len(self.names) != len(self.images) or len(set(self.names)) != len(self.names):
            raise DataError(f"{where}: needs one name per class, all different, and at least one class")
        shape = self.images[0].shape[1:]
        for name, images in zip(self.names, self.images, strict=True):
            if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
                raise DataError(f"{where}: class {name!r} must be a non-empty uint8 tensor [n, channels, side, side]")
            if images.shape[1:] != shape or shape[1] != shape[2]:
                raise DataError(f"{where}: class {name!r} has images of another shape, or not square")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def side(self) -> int:
        """Height and width of every image, in pixels."""
        return self.images[0].shape[-1]

    @property
    def channels(self) -> int:
        """Channels of every image."""
        return self.images[0].shape[1]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images of each class."""
        return tuple(len(images) for images in self.images)

    def packed(self) -> tuple[Tensor, Tensor]:
        """All images as one tensor, for gathering by index.

        Returns:
            Images, uint8 ``[N, channels, side, side]``, and offsets, int64 ``[classes + 1]``: class ``c`` is
            rows ``offsets[c]`` to ``offsets[c + 1]``. The images are no copy, and not to be changed, if the classes
            lie one after the other in one tensor, as those that are prepared or loaded do.
        """
        offsets = torch.zeros(self.classes + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor(self.counts).cumsum(0)
        first, last = self.images[0], self.images[-1]
        places = [images.data_ptr() - first.data_ptr() for images in self.images]
        size = first[0].numel()
        one = all(images.is_contiguous() for images in self.images)
        one = one and places == [size * start for start in offsets[:-1].tolist()]
        if one and first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr():
            return first.as_strided((int(offsets[-1]), *first.shape[1:]), first.stride()), offsets
        return torch.cat(self.images), offsets


def channel_statistics(images: ClassImages) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all images, in units of [0, 1].

    The sums are integers, so the result does not depend on the order of the images. The deviation is at
    least one grey level: a constant channel can still be normalised.
    """
    means, deviations = [], []
    for channel in range(images.channels):
        # Class by class: counting takes eight bytes for every pixel.
        counted = [torch.bincount(x[:, channel].flatten(), minlength=256) for x in images.images]
        histogram = torch.stack(counted).sum(0).tolist()
        count = sum(histogram)
        mean = sum(level * n for level, n in enumerate(histogram)) / count
        square = sum(level * level * n for level, n in enumerate(histogram)) / count
        means.append(mean / 255)
        deviations.append(max((square - mean * mean) ** 0.5, 1.0) / 255)
    return means, deviations


def save_images(
    folder: Path,
    splits: Mapping[str, ClassImages],
    *,
    source: str,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    copies: Copies | None = None,
) -> None:
    """Write ``{split}.npz`` for each split and then ``images.json``, which describes them.

    Args:
        folder: Where the files go; made if absent.
        splits: Splits by name; one that is missing is written as empty.
        source: Where the images came from (a key `source` of the configuration); only recorded.
        normalisation: Published mean and standard deviation per channel; None to measure them on meta-train.
        copies: What stood in the source more than once; only recorded.

    Raises:
        DataError: there is no split, or the splits differ in shape.
        DfmlError: the disk is full, or writing is not permitted.
    """
    if not splits or not set(splits) <= set(SPLITS):
        raise DataError(f"{folder}: needs some of the splits {', '.join(SPLITS)}, got {', '.join(splits) or 'none'}")
    if len({(s.side, s.channels) for s in splits.values()}) != 1:
        raise DataError(f"{folder}: the splits differ in side or channels")
    described = {}
    train, one = splits.get("meta_train"), next(iter(splits.values()))
    for split in SPLITS:
        images, path = splits.get(split), folder / f"{split}.npz"
        none = np.empty((0, one.channels, one.side, one.side), np.uint8)
        x = images.packed()[0].numpy() if images else none
        names, counts = (images.names, images.counts) if images else ((), ())
        _write_npz(path, x, names, counts, dataset=one.dataset, split=split, licence=one.licence)
        described[split] = SplitEntry(file=path.name, sha256=sha256_file(path), names=list(names), counts=list(counts))
    mean, std = normalisation or (channel_statistics(train) if train else ((), ()))
    ImagesManifest(
        dataset=one.dataset,
        source=source,
        licence=one.licence,
        side=one.side,
        channels=one.channels,
        mean=list(mean),
        std=list(std),
        normalisation="published" if normalisation else "measured" if train else "none",
        copies=copies,
        splits=described,
    ).save(folder / MANIFEST)


def load_images(path: Path) -> ClassImages:
    """Read one split written by `save_images`; nothing is resized or decoded.

    Raises:
        FileFormatError: the file is missing, truncated or not one of ours.
        DataError: the split is empty.
    """
    remedy = "delete its folder and run the rule prepare_images again"
    arrays = read_arrays(path, _ARRAYS, remedy=remedy)
    try:
        facts = {key: texts(arrays[key]) for key in ("format", "dataset", "split", "licence", "names")}
    except ValueError as error:
        raise FileFormatError(f"{path} has inconsistent arrays ({error}); {remedy}") from None
    if facts["format"] != [_FORMAT]:
        raise FileFormatError(f"{path} is not a {_FORMAT} file; {remedy}")
    if (version := whole(arrays["version"])) != _VERSION:
        raise FileFormatError(f"{path} has format version {version}, expected {_VERSION}; {remedy}")
    x, y, names = arrays["x"], arrays["y"], facts["names"]
    if len(x) == len(y) == len(names) == 0:
        raise DataError(f"{path} has no classes: nothing can be drawn of an empty split")
    sound = x.dtype == np.uint8 and x.ndim == 4 and y.dtype == np.int64 and y.shape == x.shape[:1] and x.size > 0
    sound = sound and all(len(facts[key]) == 1 for key in ("dataset", "split", "licence"))
    sound = sound and all(is_name(name) for name in [*facts["dataset"], *names])
    if not sound or not np.array_equal(np.unique(y), np.arange(len(names))) or (np.diff(y) < 0).any():
        raise FileFormatError(f"{path} has inconsistent arrays; {remedy}")
    try:
        return ClassImages(
            dataset=facts["dataset"][0],
            split=facts["split"][0],
            names=tuple(names),
            images=list(torch.from_numpy(x).split(np.bincount(y).tolist())),
            licence=facts["licence"][0],
        )
    except DataError as error:
        raise FileFormatError(f"{path} is not sound ({error}); {remedy}") from error


def class_images(
    dataset: str, split: str, arrays: Mapping[str, np.ndarray], names: Sequence[str], licence: str
) -> ClassImages:
    """Collect the classes ``names``, sorted, of ``arrays`` (uint8 ``[n, channels, side, side]`` each)."""
    ordered = tuple(sorted(names))
    tensors = [torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in ordered]
    return ClassImages(dataset=dataset, split=split, names=ordered, images=tensors, licence=licence)


def packed_images(dataset: str, split: str, x: np.ndarray, counts: Mapping[str, int], licence: str) -> ClassImages:
    """Classes that lie one after the other in ``x`` (uint8 ``[N, channels, side, side]``); no image is copied.

    Args:
        dataset: Name of the data set.
        split: Which one.
        x: Images of all classes.
        counts: Images of every class by name, sorted.
        licence: Under which terms the images may be used.
    """
    images = list(torch.from_numpy(x).split(list(counts.values())))
    return ClassImages(dataset=dataset, split=split, names=tuple(counts), images=images, licence=licence)


def _write_npz(
    path: Path,
    x: np.ndarray,
    names: Sequence[str],
    counts: Sequence[int],
    *,
    dataset: str,
    split: str,
    licence: str,
) -> None:
    """Write one split, uncompressed so that it loads quickly; the same images give the same bytes."""
    arrays = {
        "format": np.array(_FORMAT),
        "version": np.array(_VERSION),
        "dataset": np.array(dataset),
        "split": np.array(split),
        "licence": np.array(licence),
        "names": np.array(names, dtype=np.str_),
        "x": x,
        "y": np.repeat(np.arange(len(names), dtype=np.int64), np.array(counts, dtype=np.int64)),
    }
    atomic_write(path, lambda partial: np.savez(partial, allow_pickle=False, **arrays))
