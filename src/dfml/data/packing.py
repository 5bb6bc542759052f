"""Decoding many images into one array: several at a time, with the same result whatever their number."""

import io
import logging
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from PIL import Image

from dfml.data.sources.folder import as_square, read_image
from dfml.data.sources.store import Content, Store
from dfml.errors import DataError, some

# Images that are handed to a thread together, and bytes of theirs: what waits takes little memory.
_BATCH, _BATCH_BYTES = 64, 2**23
_log = logging.getLogger(__name__)


class Packed(NamedTuple):
    """Images one after the other, class by class.

    Attributes:
        x: uint8 ``[N, 3, side, side]``.
        paths: Of every image in its store.
        files: Digest of every file's content.
        counts: Images of every class, by name in the order of ``x``.
    """

    x: np.ndarray
    paths: list[str]
    files: list[bytes]
    counts: dict[str, int]


def pack(store: Store, classes: Mapping[str, Sequence[str]], *, side: int, workers: int = 1) -> Packed:
    """Decode the images of every class, each as `dfml.data.sources.folder.read_image` does.

    Args:
        store: Where the images are.
        classes: Paths in the store by class name.
        side: Height and width of the result, in pixels.
        workers: Threads that decode.

    Raises:
        DataError: files or images cannot be read; all are tried and up to 20 of them named.
    """
    paths = [path for images in classes.values() for path in images]
    rows = {path: row for row, path in enumerate(paths)}
    x = np.empty((len(paths), 3, side, side), dtype=np.uint8)
    files = [b""] * len(paths)

    def decode(batch: list[tuple[str, Content]]) -> list[tuple[int, str]]:
        broken = []
        for path, content in batch:
            row = rows[path]
            files[row] = blake2b(content if isinstance(content, bytes) else content.tobytes(), digest_size=16).digest()
            try:
                x[row] = _decoded(content, side)
            except Exception as error:  # a decoder given damaged bytes raises almost anything
                broken.append((row, f"{store.where}/{path} ({type(error).__name__}: {error})"))
        return broken

    broken: list[tuple[int, str]] = []
    unreadable: DataError | None = None
    waiting: deque[Future[list[tuple[int, str]]]] = deque()
    # Filters of warnings are the whole process's, so they are set while one thread runs. `read_image` checks all sizes.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with ThreadPoolExecutor(workers) as pool:
            batch: list[tuple[str, Content]] = []
            held = 0
            try:
                for path, content in store.read(paths):
                    batch.append((path, content))
                    held += len(content)
                    if len(batch) == _BATCH or held > _BATCH_BYTES:
                        waiting.append(pool.submit(decode, batch))
                        batch, held = [], 0
                        if len(waiting) > 2 * workers:
                            broken += waiting.popleft().result()
            except DataError as error:  # what was read before it is still looked at
                unreadable = error
            waiting.append(pool.submit(decode, batch))
            for done in waiting:
                broken += done.result()
    if broken:
        shown = some(message for _, message in sorted(broken))
        also = f". {unreadable}" if unreadable else ""
        raise DataError(f"images that cannot be read: {shown}; replace or remove them{also}")
    if unreadable:
        raise unreadable
    for name, images in classes.items():
        _log.info("class %s: %d images", name, len(images))
    return Packed(x, paths, files, {name: len(images) for name, images in classes.items()})


def _decoded(content: Content, side: int) -> np.ndarray:
    """uint8 ``[3, side, side]`` of a file's bytes, or of pixels ``[3, height, width]``."""
    if isinstance(content, bytes):
        return read_image(io.BytesIO(content), side=side)
    if content.shape[1:] == (side, side):
        return content
    return as_square(Image.fromarray(np.ascontiguousarray(content.transpose(1, 2, 0))), side)
