"""Few-shot episodes as index lists, fixed by their arguments alone, and the images they stand for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfml.compute.placement import send
from dfml.compute.seeds import numpy_rng
from dfml.errors import DataError

_KEYS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Episodes:
    """Index arrays of E episodes, all int64.

    Attributes:
        classes: ``[E, ways]``, different classes; the position in a row is the label.
        support: ``[E, ways, shots]``, index of an image within its class.
        query: ``[E, ways, queries]``, likewise, and never one of the support images.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ways(self) -> int:
        """Classes per episode."""
        return self.classes.shape[1]

    @property
    def shots(self) -> int:
        """Support images per class."""
        return self.support.shape[2]

    @property
    def queries(self) -> int:
        """Query images per class."""
        return self.query.shape[2]

    def digest(self) -> str:
        """SHA-256 of shapes and indices: equal exactly when the episodes are equal."""
        digest = hashlib.sha256()
        for array in (self.classes, self.support, self.query):
            digest.update(repr(array.shape).encode())
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()


class EpisodeImages(NamedTuple):
    """Images and labels of one episode, or of several with a leading dimension E on the images.

    Both sets are class-major: all images of the first class, then all of the second, and so on. The labels
    are the positions of the classes and are the same for every episode.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor


def sample_episodes(
    counts: Sequence[int],
    *,
    ways: int,
    shots: int,
    queries: int,
    episodes: int,
    seed: int,
    split: str,
    names: Sequence[str] | None = None,
) -> Episodes:
    """Draw episodes that depend on these arguments only, not on the method, earlier draws or the process.

    Args:
        counts: Images of each class of the split.
        ways: Classes per episode, drawn without replacement.
        shots: Support images per class.
        queries: Query images per class; all images of a class in an episode are different.
        episodes: How many.
        seed: Root seed of the draw.
        split: Name of the split; gives every split its own stream.
        names: Class names, for messages only.

    Raises:
        DataError: more ways than classes, or classes with fewer than ``shots + queries`` images.
    """
    taken = shots + queries
    if ways > len(counts):
        raise DataError(f"{split} has {len(counts)} classes, fewer than ways = {ways}; lower `ways` or add classes")
    labels = names if names is not None else [f"class {i}" for i in range(len(counts))]
    short = [f"{label} ({count})" for label, count in zip(labels, counts, strict=True) if count < taken]
    if short:
        raise DataError(
            f"{split}: an episode takes shots + queries = {shots} + {queries} = {taken} images of a class, "
            f"but fewer are in: {', '.join(short)}; lower `shots` or `evaluation.queries`, or add some"
        )
    rng = numpy_rng(seed, "episodes", split, ways, shots, queries, episodes)
    classes = np.argsort(rng.random((episodes, len(counts))), axis=1, kind="stable")[:, :ways]
    available = np.asarray(counts, dtype=np.int64)
    most = int(available.max())
    images = np.empty((episodes, ways, taken), dtype=np.int64)
    # A random order of the images of each class: sort random keys, with those past the end last. In chunks,
    # which bound the memory and leave the stream of random numbers as it is.
    step = max(1, _KEYS_AT_ONCE // (ways * most))
    for start in range(0, episodes, step):
        chunk = classes[start : start + step]
        keys = rng.random((len(chunk), ways, most))
        keys[np.arange(most) >= available[chunk][..., None]] = np.inf
        images[start : start + step] = np.argsort(keys, axis=2, kind="stable")[..., :taken]
    return Episodes(
        classes=np.ascontiguousarray(classes, dtype=np.int64),
        support=np.ascontiguousarray(images[..., :shots]),
        query=np.ascontiguousarray(images[..., shots:]),
    )


def gather(images: Tensor, offsets: Tensor, episodes: Episodes, index: int | slice) -> EpisodeImages:
    """The images of one episode or of a slice of episodes, by one index operation each for support and query.

    Args:
        images: ``[N, C, H, W]``, any dtype and device (see `ClassImages.packed`).
        offsets: int64 ``[classes + 1]``, first row of each class.
        episodes: The episodes.
        index: Which. An integer gives tensors ``[ways * shots, C, H, W]`` and ``[ways * queries, C, H, W]``;
            a slice of E episodes puts a dimension E in front of these.

    Returns:
        Images with the dtype and device of ``images``, and on the same device int64 labels
        ``[ways * shots]`` and ``[ways * queries]``.
    """
    starts = offsets.numpy(force=True)[episodes.classes[index]][..., None]
    ways = episodes.ways

    def pick(within: np.ndarray) -> Tensor:
        return images[send(torch.from_numpy(starts + within).flatten(-2), images.device)]

    def labels(repeats: int) -> Tensor:
        return torch.arange(ways, device=images.device).repeat_interleave(repeats)

    return EpisodeImages(
        support=pick(episodes.support[index]),
        support_labels=labels(episodes.shots),
        query=pick(episodes.query[index]),
        query_labels=labels(episodes.queries),
    )
