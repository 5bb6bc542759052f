"""What ``runtime.tf32`` does to numbers, on a machine without a GPU.

A GPU with TF32 rounds what it multiplies in convolutions and matrix products to 10 bits of mantissa, and adds up in
float32. :class:`AsTF32` does so to every such operation on a CPU. Python processes that find the folder
``benchmarks/as_tf32`` in ``PYTHONPATH`` are inside it from their first line to their last, a workflow's jobs for
example:

    ./run.sh env PYTHONPATH=benchmarks/as_tf32 snakemake --cores 2 --config experiment=demo_tf32

A GPU adds up in another order and has kernels of its own: this shows what the rounding changes, not what a GPU gives.
With ``MANTISSA_BITS=20`` beside ``PYTHONPATH`` hardly anything is rounded, which shows what any small change does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dfml.compute import traced

TF32 = 10

_aten = torch.ops.aten
# Where the factors stand among the arguments of what multiplies.
_FACTORS: dict[Callable[..., Any], slice[int, int, None]] = {
    _aten.convolution.default: slice(0, 2),
    _aten._convolution.default: slice(0, 2),
    _aten.convolution_backward.default: slice(0, 3),
    _aten.mm.default: slice(0, 2),
    _aten.mm.out: slice(0, 2),
    _aten.bmm.default: slice(0, 2),
    _aten.bmm.out: slice(0, 2),
    _aten.mv.default: slice(0, 2),
    _aten.addmm.default: slice(1, 3),
    _aten.addmm.out: slice(1, 3),
    _aten.addmm_.default: slice(1, 3),
    _aten.baddbmm.default: slice(1, 3),
    _aten.baddbmm_.default: slice(1, 3),
}


def rounded(x: Tensor, bits: int = TF32) -> Tensor:
    """``x`` with so many bits of mantissa, below 23, the nearest such number; as it is unless it is float32."""
    if x.dtype != torch.float32:
        return x
    unit = 1 << 23 - bits
    return ((x.view(torch.int32) + unit // 2) & -unit).view(torch.float32)


class AsTF32(TorchDispatchMode):
    """While it is entered, in this thread, factors are rounded before they are multiplied; ``bits`` as above."""

    def __init__(self, bits: int = TF32) -> None:
        super().__init__()
        self.bits = bits

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch for every operation that it carries out."""
        factors = _FACTORS.get(func)
        if factors is not None:
            args = (*args[: factors.start], *(rounded(x, self.bits) for x in args[factors]), *args[factors.stop :])
        return func(*args, **(kwargs or {}))


def enter_for_good(bits: int) -> None:
    """Put this thread, and every thread that begins later, inside :class:`AsTF32`.

    Nothing is traced any more: TorchScript cannot run under such a mode.
    """
    traced.CALLS_BEFORE = sys.maxsize
    run = threading.Thread.run

    def inside(thread: threading.Thread) -> None:
        with AsTF32(bits):
            run(thread)

    threading.Thread.run = inside  # type: ignore[assignment, method-assign]
    AsTF32(bits).__enter__()
