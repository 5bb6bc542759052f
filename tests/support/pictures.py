"""Small pictures to put into folders and archives."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int, size: int = 40) -> Image.Image:
    """Smooth blobs of colour, as different from one another as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files below a folder by their paths; returns the folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def write_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A .zip of these files."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A .tar of these files, compressed as its name says."""
    with tarfile.open(path, "w:gz" if path.name.lower().endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def class_files(counts: Mapping[str, int], *, below: str = "", first: int = 0) -> dict[str, bytes]:
    """So many different pictures of every class, by path below ``below``."""
    names = [f"{below}{name}/{i}.png" for name, count in counts.items() for i in range(count)]
    return {name: encoded(photo(first + number, 20)) for number, name in enumerate(names)}


class _OfPython2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its text, which CIFAR's authors used."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, content: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = save_text


def pickled(content: object) -> bytes:
    """A pickle as of Python 2."""
    stream = io.BytesIO()
    _OfPython2(stream, protocol=2).dump(content)
    return stream.getvalue()


def pickled_cifar(classes: int, images: int) -> dict[str, bytes]:
    """The three files of CIFAR-100's authors, with so many images of every class in each part."""
    files = {"meta": pickled({b"fine_label_names": [f"class{c}".encode() for c in range(classes)]})}
    for seed, part in enumerate(("train", "test")):
        labels = list(range(classes)) * images
        pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        files[part] = pickled({b"fine_labels": labels, b"data": pixels})
    return files
