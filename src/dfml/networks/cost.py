"""What one forward pass costs."""

import torch
from torch import nn


@torch.no_grad()
def forward_macs(network: nn.Module, side: int) -> int:
    """Multiply-adds of the features and head for one image ``[3, side, side]``: convolutions and linear layers."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts.append(output[0].numel() * module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            counts.append(module.weight.numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        device = next(network.parameters()).device
        network(torch.zeros(2, 3, side, side, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
