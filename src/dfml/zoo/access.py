"""What a method may do with a model: everything, differentiate its answers, or only ask (docs/method.md §2.4)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from dfml.errors import DfmlError


class AccessError(DfmlError, AttributeError):
    """A method asked for more of a model than its pool gives."""


class GradientsOnly:
    """A classifier that answers, differentiably, and shows nothing else of itself."""

    __slots__ = ("__weakref__", "_forward")
    _gives = "its answers and their gradients"

    def __init__(self, network: nn.Module) -> None:
        # In a closure, so that no attribute leads to the network.
        def forward(images: Tensor) -> Tensor:
            return network(images)

        self._forward: Callable[[Tensor], Tensor] = forward

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``[B, ways]`` of normalised images ``[B, 3, side, side]``."""
        return self._forward(images)

    def __getattr__(self, name: str) -> Any:
        raise AccessError(f"this model gives {self._gives} only; `{name}` needs its weights (`pools.*.access`)")


class LogitsOnly(GradientsOnly):
    """A black box: it answers, cannot be differentiated, and counts the images it was asked about.

    Calling it raises AccessError for images that ask for a gradient, backward or forward.
    """

    __slots__ = ("queries",)
    _gives = "its answers"

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.queries = 0

        @torch.no_grad()
        def forward(images: Tensor) -> Tensor:
            if images.requires_grad or forward_ad.unpack_dual(images).tangent is not None:
                raise AccessError("this model gives its answers only and cannot be differentiated; detach the images")
            self.queries += len(images)
            return network(images)

        self._forward = forward
