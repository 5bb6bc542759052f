"""Digests of tensors: equal contents, equal digest, whatever the container or memory format."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def digest_tensors(tensors: Mapping[str, Tensor | np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors or arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = torch.as_tensor(tensors[name]).detach().cpu().contiguous()
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
