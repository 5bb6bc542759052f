"""Digests of settings and tensors: equal content, equal digest, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest_json(obj: Any) -> str:
    """Return the hexadecimal SHA-256 of plain JSON data; the order of keys does not matter."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_tensors(tensors: Mapping[str, Any]) -> str:
    """Return the hexadecimal SHA-256 over the names, dtypes, shapes and bytes of tensors.

    Takes torch tensors on any device and numpy arrays; equal arrays of both kinds agree.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        dtype = str(value.dtype).removeprefix("torch.")
        digest.update(json.dumps([name, dtype, list(value.shape)]).encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: Any) -> bytes:
    if hasattr(value, "detach"):
        import torch

        flat = value.detach().cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().tobytes()
    if value.dtype.hasobject:
        raise TypeError("an array of Python objects has no digest; give numbers or fixed strings")
    return value.tobytes()
