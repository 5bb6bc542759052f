"""What ``torch.func.vmap`` cannot do, done by what it can: for networks with weights of their own in every task.

``vmap`` has no rule for some operations and then runs them task by task, or refuses them. On a GPU either defeats its
purpose, which is one kernel for all tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class MissingRules(TorchFunctionMode):
    """While it is entered, operations without a batching rule are done by others, to the same values up to rounding.

    What is in place otherwise gives a new tensor here: go on with what the operation returns.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Called by torch for every one of its functions."""
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def _added_product(into: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return torch.addcmul(into, a, b, value=value)


def _added_matrix_product(into: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return into + a @ b


def _moments(images: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    return mean, variance


def _contiguous(tensor: Tensor, *, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    if memory_format is torch.channels_last:
        return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return tensor.clone(memory_format=memory_format)


class ConvolutionsAsProducts(TorchFunctionMode):
    """While it is entered, convolutions are matrix products of patches, with derivatives of any order by autograd.

    With a kernel of its own for every task of a ``vmap`` that makes batched products of what would be a grouped
    convolution.

    Args:
        products: the most values of a channel of a task, images times places, at which one is a product: of what a
            convolution makes, and of what a transposed one takes.
    """

    def __init__(self, products: int) -> None:
        super().__init__()
        self.products = products

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Called by torch for every one of its functions."""
        if func is F.conv2d:
            return _convolved(self.products, *args, **(kwargs or {}))
        if func is F.conv_transpose2d:
            return _convolved_back(self.products, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


Both = int | tuple[int, int]
"""For height and width, one number or two."""


def _both(value: Both) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _convolved(
    products: int,
    images: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: Both = 1,
    padding: Both | str = 0,
    dilation: Both = 1,
    groups: int = 1,
) -> Tensor:
    """As ``F.conv2d``; of a shape that products are not for, that itself."""
    if groups > 1 or isinstance(padding, str):
        return F.conv2d(images, kernel, bias, stride, padding, dilation, groups)
    sizes = zip(images.shape[2:], kernel.shape[2:], *map(_both, (stride, padding, dilation)), strict=True)
    height, width = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sizes)
    if len(images) * height * width > products:
        return F.conv2d(images, kernel, bias, stride, padding, dilation, groups)
    columns = F.unfold(images, kernel.shape[2:], dilation, padding, stride)
    found = (kernel.flatten(1) @ columns).unflatten(2, (height, width))
    return found if bias is None else found + bias.view(-1, 1, 1)


def _convolved_back(
    products: int,
    images: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: Both = 1,
    padding: Both = 0,
    output_padding: Both = 0,
    groups: int = 1,
    dilation: Both = 1,
) -> Tensor:
    """As ``F.conv_transpose2d``; of a shape that products are not for, that itself."""
    if groups > 1 or images[:, 0].numel() > products:
        return F.conv_transpose2d(images, kernel, bias, stride, padding, output_padding, groups, dilation)
    options = map(_both, (stride, padding, output_padding, dilation))
    sizes = zip(images.shape[2:], kernel.shape[2:], *options, strict=True)
    larger = tuple((side - 1) * s - 2 * p + d * (k - 1) + more + 1 for side, k, s, p, more, d in sizes)
    columns = kernel.flatten(1).T @ images.flatten(2)
    found = F.fold(columns, larger, kernel.shape[2:], dilation, padding, stride)
    return found if bias is None else found + bias.view(-1, 1, 1)


_INSTEAD: dict[Any, Callable[..., Any]] = {
    Tensor.addcmul_: _added_product,
    Tensor.addmm_: _added_matrix_product,
    Tensor.contiguous: _contiguous,
    torch.batch_norm_update_stats: _moments,
}
