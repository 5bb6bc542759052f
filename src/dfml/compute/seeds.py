"""Named random streams: each depends on the root seed and its own names, never on call order."""

from __future__ import annotations

import hashlib
import json
import operator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(root: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream called `names` under the root seed.

    The string "1" and the integer 1 are different names. Raises ValueError for a negative root.
    """
    plain = [name if isinstance(name, str) else operator.index(name) for name in names]
    words = np.frombuffer(hashlib.sha256(json.dumps(plain).encode()).digest(), dtype="<u4")
    sequence = np.random.SeedSequence([operator.index(root), *words.tolist()])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def numpy_rng(root: int, *names: str | int) -> np.random.Generator:
    """Return a fresh numpy generator for the named stream."""
    return np.random.default_rng(derive_seed(root, *names))


def torch_generator(root: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh torch generator for the named stream, living on `device`."""
    import torch

    return torch.Generator(device).manual_seed(derive_seed(root, *names))
