"""Where tensors lie: their memory format, and small ones on their way to the device."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last on a CPU, where convolutions in float32 need no reordering then; torch's own elsewhere."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def channels_last(images: Tensor) -> Tensor:
    """A batch ``[B, C, H, W]`` in the memory format of its device."""
    if memory_format(images.device) is torch.contiguous_format:
        return images.contiguous()
    # The same as asking `contiguous` for that format, which it does not know inside `vmap`.
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def to_device(network: Network, device: torch.device) -> Network:
    """The network itself, on ``device`` and in its memory format."""
    return network.to(device).to(memory_format=memory_format(device))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor of any shape on ``device``, without waiting for what the device is doing.

    A copy from ordinary memory to a GPU waits until all earlier work there is done; one from pinned memory does not.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
