"""`dfml data`: which images are there, whether they can be read, and getting those that torchvision can get."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from tarfile import TarError
from zipfile import BadZipFile

from pydantic import ValidationError
from rich.console import Console

from dfml.artefacts.images import MANIFEST, SPLITS, ImagesManifest
from dfml.cli.tools import require_repository
from dfml.config.load import load_config
from dfml.data.known import KNOWN, KnownDataset
from dfml.data.listing import find_pictures
from dfml.data.settings import EMBEDDED_FILES, DatasetSettings
from dfml.data.sources.folder import Folder, is_image
from dfml.data.sources.opening import open_store
from dfml.data.sources.store import Store, is_archive
from dfml.errors import DataError, DfmlError
from dfml.jobs.wall import EMBEDDED

DATA = Path("data")
"""Where the committed configurations look for public data sets, each in a folder of its name."""

DEFAULT = Path("config/config.yaml")


def status(console: Console, *, configfiles: Sequence[str]) -> int:
    """Say of every data set of a configuration, and of every public one, whether it is there; reads no image.

    Returns:
        0 if all that the configuration names are there, else 1.

    Raises:
        ConfigError: the configuration is wrong.
    """
    require_repository()
    config = load_config([DEFAULT, *map(Path, configfiles)])
    used = dict.fromkeys(name for pool in config.pools.values() if pool.methods != () for name in pool.read)
    _say(console, f"Data sets of {' '.join(configfiles) or DEFAULT}")
    states = [_report(console, name, config.datasets[name]) for name in used]
    _say(console, "Other public data sets")
    for name in KNOWN:
        if name not in {config.datasets[one].source for one in used}:
            _report(console, name, DatasetSettings.model_validate({"source": name, "path": str(DATA / name)}))
    return 0 if all(states) else 1


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _report(console: Console, name: str, settings: DatasetSettings) -> bool:
    """Print one data set's lines; says whether it is there."""
    known = KNOWN.get(settings.source)
    path = Path(settings.path or Path(EMBEDDED, f"{EMBEDDED_FILES.get(name)}.npz")).expanduser()
    try:
        there = os.path.exists(path)
        state = _found(path, settings.source, known) if there else "missing"
    except DataError as error:
        state, there = f"damaged: {error}", False
    _say(console, f"  {name}: {state}")
    if not there and known:
        _say(console, f"    put into {path}: {known.layouts}")
        if settings.source in DOWNLOADERS:
            _say(console, f"    get it: dfml data get {settings.source}")
    elif not there:
        remedy = "restore it from version control" if settings.source == "embedded" else "let its `path` name images"
        _say(console, f"    {path}: {remedy}")
    if known:
        _say(console, f"    from {known.page}; licence: {known.licence}")
    return there


def _found(path: Path, source: str, known: KnownDataset | None) -> str:
    """What is at a path, by names alone: those in a folder and in the lists of zip archives.

    Raises:
        DataError: nothing that could be read, or less than a whole copy of a public data set.
    """
    if source == "embedded":
        return "embedded"
    folder = Folder(path) if path.is_dir() else None
    if folder and not folder.files:
        raise DataError(f"{path} is empty")
    if folder and any(is_image(file.path) for file in folder.files):
        return _counted(folder, source, known)
    inside = [path / file.path for file in folder.files] if folder else [path]
    archives = [file for file in inside if is_archive(file)]
    zips = [file for file in archives if file.suffix.lower() == ".zip"]
    if len(zips) == len(archives):
        return _counted(open_store(path), source, known)
    for file in zips:
        open_store(file)  # reads its list, which half a copy lacks; a tar has none and would be read through
    return f"present, {', '.join(map(str, archives))} (not read: dfml data check)"


def _counted(store: Store, source: str, known: KnownDataset | None) -> str:
    """How many images there are; raises a DataError if they are less than a whole copy of a public data set."""
    _, layout = find_pictures(store, source)
    images = sum(map(len, layout.classes.values()))
    if known and images < known.total:
        raise DataError(f"{store.where} has {images} images by class, a whole copy of {known.label} has {known.total}")
    return f"present, {images or len(layout.pile)} images of {len(layout.classes) or 'no'} classes in {store.where}"


def check(console: Console, path: str, *, source: str, side: int | None, fractions: Sequence[float] | None) -> int:
    """Read every image as the rule ``prepare_images`` would, and say what it would make of them; nothing is kept.

    Raises:
        DataError: images or class split are missing, damaged or too few.
    """
    require_repository()
    given = {"source": source, "path": path, "side": side, "fractions": fractions}
    values = {key: value for key, value in given.items() if value is not None}
    try:
        settings = DatasetSettings.model_validate(values)
    except ValidationError as error:
        told = [": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()]
        raise DfmlError("; ".join(told).replace("Value error, ", "")) from None
    from dfml.data.prepare import prepare_images  # imports torch

    # Copies, what is left out and the like are warnings, which go to stderr.
    with tempfile.TemporaryDirectory() as folder:
        needed = [split for split, share in zip(SPLITS, settings.fractions, strict=True) if share]
        prepare_images(source, settings, Path(folder), resources=Path(EMBEDDED), needed=needed, workers=2)
        manifest = ImagesManifest.load(Path(folder, MANIFEST))
    for split, entry in manifest.splits.items():
        _say(console, f"{split}: {sum(entry.counts)} images of {len(entry.names)} classes")
    _say(console, f"side {manifest.side}; mean {_channels(manifest.mean)}, sd {_channels(manifest.std)}")
    return 0


def _channels(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def get(console: Console, name: str) -> int:
    """Download a public data set by torchvision's own downloader, which compares a checksum, to ``data/NAME``.

    Raises:
        DfmlError: there is no such downloader, the network or the checksum failed, or something is there already.
    """
    require_repository()
    if name not in KNOWN:
        raise DfmlError(f"`{name}` is no public data set that is known here; choose from {', '.join(KNOWN)}")
    known, folder = KNOWN[name], DATA / name
    if name not in DOWNLOADERS:
        raise DfmlError(
            f"torchvision has no downloader with a checksum for {known.label}; get it from {known.page} and put into "
            f"{folder}: {known.layouts}"
        )
    if folder.exists():
        raise DfmlError(f"{folder} is there already; `dfml data status` says what it holds, delete it to get it anew")
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix=f".{name}.") as partial:
        try:
            DOWNLOADERS[name](str(Path(partial, "whole")))
        # No network or a connection that ends, a server's refusal, a full disk, a wrong checksum, no whole archive.
        except (OSError, RuntimeError, HTTPException, BadZipFile, TarError) as error:
            raise DfmlError(
                f"{known.label} could not be downloaded ({error}); try again, or get it from {known.page} and put into "
                f"{folder}: {known.layouts}"
            ) from error
        Path(partial, "whole").rename(folder)
    _say(console, f"{known.label} is in {folder}. Its licence: {known.licence}")
    return 0


def _cifar(folder: str) -> None:
    from torchvision.datasets import CIFAR100

    CIFAR100(folder, download=True)


def _flowers(folder: str) -> None:
    from torchvision.datasets import Flowers102

    Flowers102(folder, download=True)


def _omniglot(folder: str) -> None:
    from torchvision.datasets import Omniglot

    for background in (True, False):
        Omniglot(folder, background=background, download=True)


def _eurosat(folder: str) -> None:
    from torchvision.datasets import EuroSAT

    EuroSAT(folder, download=True)


def _caltech(folder: str) -> None:
    from torchvision.datasets import Caltech101

    Caltech101(folder, download=True)


DOWNLOADERS: dict[str, Callable[[str], None]] = {
    "cifar_fs": _cifar,
    "vgg_flower": _flowers,
    "omniglot": _omniglot,
    "eurosat": _eurosat,
    "caltech101": _caltech,
}
