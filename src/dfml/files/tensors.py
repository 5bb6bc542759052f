"""Weights that may be damaged or hostile: nothing is allocated that the file does not hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dfml.errors import FileFormatError
from dfml.files.reading import LARGEST_JSON, parse_json

Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of tensors by name."""

_TYPES = {
    torch.float32: "F32",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
}


def layout_of(tensors: Mapping[str, Tensor], *, copies: int | None = None) -> Layout:
    """What these tensors look like, with ``copies`` stacked as many times; they may be on the `meta` device."""
    stack = () if copies is None else (copies,)
    return {name: (tensor.dtype, (*stack, *tensor.shape)) for name, tensor in tensors.items()}


def read_tensors(
    path: Path,
    layout: Layout,
    *,
    what: str,
    remedy: str,
    device: torch.device | None = None,
    others: bool = False,
    rows: int | slice = slice(None),
) -> dict[str, Tensor]:
    """Read a safetensors file with the tensors of ``layout``.

    The library has the header cover the file to the byte, so what fits the header fits the file; names, types and
    shapes are compared before any tensor is made.

    Args:
        path: the file.
        layout: what it has to hold.
        what: what that is called, for the message.
        remedy: ends the message.
        device: where the tensors shall live.
        others: whether it may hold other tensors too; they are not read.
        rows: which part of every tensor's first dimension is read; by default all of it.

    Raises:
        FileFormatError: missing, truncated, other tensors, or weights that are not finite.
    """
    return TensorFile(path, remedy=remedy, device=device).read(layout, what=what, others=others, rows=rows)


class TensorFile:
    """A safetensors file that stays open: its header is read once, however often tensors of it are.

    Args:
        path: the file.
        remedy: ends every message.
        device: where the tensors shall live.

    Raises:
        FileFormatError: missing or truncated.
    """

    def __init__(self, path: Path, *, remedy: str, device: torch.device | None = None) -> None:
        self.path, self.remedy = path, remedy
        try:
            if not path.is_file():
                raise FileNotFoundError("there is no such file")
            self._stored = safe_open(path, framework="pt", device=str(device or "cpu"))
            self._names = frozenset(self._stored.keys())
        except (OSError, SafetensorError) as error:
            raise self._wrong(f"not a readable safetensors file ({error})") from None

    def read(
        self, layout: Layout, *, what: str, others: bool = False, rows: int | slice = slice(None)
    ) -> dict[str, Tensor]:
        """The tensors of ``layout``; arguments and errors as of :func:`read_tensors`."""
        odd = layout.keys() - self._names if others else layout.keys() ^ self._names
        if odd:
            raise self._wrong(f"tensors {sorted(odd)[:5]} do not fit {what}")
        try:
            for name, (dtype, shape) in layout.items():
                found = self._stored.get_slice(name)
                if (found.get_dtype(), tuple(found.get_shape())) != (_TYPES[dtype], shape):
                    raise self._wrong(
                        f"tensor {name!r} is {found.get_dtype()} {tuple(found.get_shape())}, "
                        f"expected {_TYPES[dtype]} {shape} for {what}"
                    )
            tensors = {
                name: self.tensor(name) if rows == slice(None) else self._stored.get_slice(name)[rows]
                for name in layout
            }
        except (OSError, SafetensorError) as error:
            raise self._wrong(f"not a readable safetensors file ({error})") from None
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.stack(tensor.aminmax()).isfinite().all():
                raise self._wrong(f"tensor {name!r} holds numbers that are not finite")
        return tensors

    def tensor(self, name: str) -> Tensor:
        """A tensor of whatever type and shape; raises FileFormatError if there is none of that name."""
        if name not in self._names:
            raise self._wrong(f"there is no tensor {name!r}")
        return self._stored.get_tensor(name)

    def _wrong(self, what: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: {what}; {self.remedy}")


def read_metadata(path: Path, key: str, *, remedy: str) -> Any:
    """JSON from the metadata of a safetensors file; no tensor is read.

    Raises:
        FileFormatError: the file is missing or truncated, or what it has under ``key`` is no JSON that is read here.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("there is no such file")
        with safe_open(path, framework="pt") as stored:
            text = (stored.metadata() or {}).get(key)
    except (OSError, SafetensorError) as error:
        raise FileFormatError(f"{path}: not a readable safetensors file ({error}); {remedy}") from None
    if text is None:
        raise FileFormatError(f"{path}: another kind of file, with nothing under {key!r} in its metadata; {remedy}")
    try:
        if len(text) > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON} characters")
        return parse_json(text.encode())
    except ValueError as error:
        raise FileFormatError(f"{path}: its metadata is not whole JSON ({error}); {remedy}") from None


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
