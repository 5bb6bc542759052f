"""Which images a source has, by class, before any of them is decoded. Torch-free: planning asks it too."""

import os
from pathlib import Path

from dfml.data.known import KNOWN
from dfml.data.sources.cifar import pickled_cifar
from dfml.data.sources.folder import Folder, is_image
from dfml.data.sources.layouts import Layout, find_classes
from dfml.data.sources.lists import flower_classes
from dfml.data.sources.opening import open_store
from dfml.data.sources.store import Store


def find_pictures(store: Store, source: str) -> tuple[Store, Layout]:
    """The layout of a source's images, and the store that gives them.

    Args:
        store: Of what `path` names.
        source: Key `source` of the configuration; some public data sets have layouts of their own.

    Raises:
        DataError: there are no images, or their layout is not understood.
    """
    if source == "cifar_fs" and (pickled := pickled_cifar(store)):
        store = pickled
    if source == "vgg_flower" and (classes := flower_classes(store)):
        return store, Layout(classes)
    return store, find_classes(store, depth=KNOWN[source].depth if source in KNOWN else 1)


def check_listing(path: Path, source: str) -> None:
    """Raise a DataError if a folder's names alone show that it cannot be read; archives and images are not opened."""
    if os.path.isdir(path):
        folder = Folder(path)
        if any(is_image(file.path) for file in folder.files):
            find_pictures(folder, source)
    elif not os.path.exists(path):
        open_store(path)  # says what is needed
