"""CIFAR-100 as its authors give it: pickles, of which nothing but plain values and raw bytes is taken."""

import io
import pickle
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from dfml.data.sources.store import Content, Store, Stored
from dfml.errors import DataError

SIDE = 32
PICKLES = ("meta", "test", "train")
_BYTES = 3 * SIDE * SIDE


class _Array:
    """Stands for a numpy array while a pickle is read, and keeps what it says of itself."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Kind:
    """Stands for a numpy dtype likewise."""

    def __init__(self, *told: Any) -> None:
        self.name = told[0] if told else ""

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which single bytes have not."""


def _array(*_: Any) -> _Array:
    return _Array()


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Plain(pickle.Unpickler):
    """Reads plain values, and stand-ins for arrays: nothing that a pickle names is ever imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which no such file needs")
        return _ALLOWED[module, name]

    def persistent_load(self, _: object) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside")


class PickledCifar:
    """The 60,000 images of `cifar-100-python` as a store of class folders below ``train`` and ``test``.

    Contents are uint8 ``[3, 32, 32]``.
    """

    def __init__(self, store: Store, files: dict[str, str]) -> None:
        self.where: Path = store.where
        self._images: dict[str, np.ndarray] = {}
        loaded = {name: _load(store, path) for name, path in files.items()}
        names = _class_names(store, loaded["meta"])
        for part in ("train", "test"):
            labels = _entry(store, loaded[part], b"fine_labels", list)
            for number, (label, pixels) in enumerate(
                zip(labels, _pixels(store, loaded[part], len(labels)), strict=True)
            ):
                if not isinstance(label, int) or not 0 <= label < len(names):
                    raise DataError(
                        f"{store.where}: the labels of {part} are not those of {len(names)} classes; get it anew"
                    )
                self._images[f"{part}/{names[label]}/{number:05}.png"] = pixels
        self.files = tuple(Stored(path, _BYTES) for path in sorted(self._images))
        self.folders = frozenset(path.rpartition("/")[0] for path in self._images)

    def read(self, paths: Collection[str]) -> Iterator[tuple[str, Content]]:
        """Pixels of these images."""
        return ((path, self._images[path]) for path in paths)


def pickled_cifar(store: Store) -> PickledCifar | None:
    """The images of a folder or archive that holds the three pickles; None for any other layout.

    Raises:
        DataError: they are damaged, or hold anything else than such images.
    """
    files = {name: file.path for file in store.files if (name := file.path.rpartition("/")[2]) in PICKLES}
    return PickledCifar(store, files) if len(files) == len(PICKLES) else None


def _load(store: Store, path: str) -> dict[bytes, Any]:
    ((_, content),) = store.read([path])
    try:
        loaded = _Plain(io.BytesIO(bytes(content)), encoding="bytes").load()
    except Exception as error:  # damaged bytes make it raise almost anything
        raise DataError(
            f"{store.where}/{path} is not the pickle of CIFAR-100's authors ({type(error).__name__}: {error}); get it "
            "anew"
        ) from error
    if not isinstance(loaded, dict):
        raise DataError(f"{store.where}/{path} is not the pickle of CIFAR-100's authors; get it anew")
    return loaded


def _entry(store: Store, loaded: dict[bytes, Any], key: bytes, kind: type) -> Any:
    if not isinstance(found := loaded.get(key), kind):
        raise DataError(f"{store.where}: a pickle has no {key.decode()}; get it anew")
    return found


def _class_names(store: Store, meta: dict[bytes, Any]) -> list[str]:
    try:
        return [name.decode("ascii") for name in _entry(store, meta, b"fine_label_names", list)]
    except (AttributeError, UnicodeError) as error:
        raise DataError(f"{store.where}: the names of the classes are damaged; get it anew") from error


def _pixels(store: Store, loaded: dict[bytes, Any], images: int) -> np.ndarray:
    """The raw bytes that stand for the images, uint8 ``[images, 3, 32, 32]``."""
    state = _entry(store, loaded, b"data", _Array).state
    kind, raw = (state[2], state[4]) if len(state) == 5 else (None, b"")
    sound = isinstance(kind, _Kind) and kind.name in ("u1", b"u1", "|u1", b"|u1") and isinstance(raw, bytes)
    if not sound or state[1] != (images, _BYTES) or len(raw) != images * _BYTES or state[3]:
        raise DataError(f"{store.where}: a pickle does not hold {images} images of {SIDE} x {SIDE}; get it anew")
    return np.frombuffer(raw, dtype=np.uint8).reshape(images, 3, SIDE, SIDE)
