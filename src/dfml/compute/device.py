"""Which device a job runs on, and how torch and the C allocator behave there."""

from __future__ import annotations

import ctypes
import glob
import itertools
import logging
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dfml.errors import DfmlError
from dfml.files.atomic import try_lock

if TYPE_CHECKING:
    import torch


log = logging.getLogger(__name__)

# The device of this process and the lock on it, which must stay open as long as the process lives.
_held: list[tuple[torch.device, int]] = []


def select_device(gpu: int) -> torch.device:
    """Return the device of this process: the CPU for `gpu` 0, otherwise a CUDA device.

    Jobs on one machine get distinct devices by file locks; when there are more jobs than
    devices, they share evenly, with a warning. Without CUDA it is the CPU.
    """
    import torch

    if gpu < 1:
        return torch.device("cpu")
    if _held:
        return _held[0][0]
    names = _cuda_names()
    if not names:
        log.warning("a GPU was granted, and no CUDA device can be used here: running on the CPU; see nvidia-smi")
        return torch.device("cpu")
    for share in itertools.count():
        for index, name in names.items():
            lock = try_lock(f"cuda-{name}-{share}")
            if lock is not None:
                if share:
                    log.warning("cuda:%d is shared with %d other jobs of dfml", index, share)
                _held.append((torch.device("cuda", index), lock))
                # Code that leaves a CUDA stream returns to the current device. Were that still the first GPU, this
                # process would take memory there as well.
                torch.cuda.set_device(index)
                return _held[0][0]
    raise AssertionError("unreachable: some share is always free")


@contextmanager
def apart_from_caller() -> Iterator[None]:
    """Compute on the CPU as usual, in whichever mode the caller's code is and on whichever device by default."""
    import torch

    with ExitStack() as stack:
        for mode in (torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False)):
            stack.enter_context(mode)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # it slows every call down
        yield


def refuse_other_types() -> None:
    """See that modules are made in float32.

    Raises:
        DfmlError: torch's default type is another; other threads would see a change of it, so that none is made.
    """
    import torch

    if torch.get_default_dtype() != torch.float32:
        raise DfmlError(
            f"torch's default type is {torch.get_default_dtype()}, and dfml computes in float32: call "
            "torch.set_default_dtype(torch.float32) before"
        )


def _cuda_names() -> dict[int, str]:
    """What identifies each visible device machine-wide, by its index, which depends on the job."""
    import torch

    if not torch.cuda.is_available():
        return {}
    usable = [index for index in range(torch.cuda.device_count()) if _has_kernels(index)]
    return {index: str(torch.cuda.get_device_properties(index).uuid) for index in usable}


def _has_kernels(index: int) -> bool:
    """Whether the installed torch was built for a GPU of this kind: for its generation, or to be compiled for it."""
    import torch

    kinds = torch.cuda.get_arch_list()
    if torch.version.cuda is None or not kinds:  # AMD's, or nothing is said
        return True
    major, minor = torch.cuda.get_device_capability(index)
    for built in kinds:
        kind, _, number = built.partition("_")
        made_for = divmod(int(number.rstrip("af")), 10)
        only = number.endswith("a")  # for exactly this one
        if (kind == "sm" and made_for[0] == major and (made_for[1] == minor if only else made_for[1] <= minor)) or (
            kind == "compute" and made_for <= (major, minor)
        ):
            return True
    log.warning(
        "cuda:%d (%s, compute capability %d.%d) is left out: the installed torch has no kernels for it",
        index,
        torch.cuda.get_device_name(index),
        major,
        minor,
    )
    return False


def configure_torch(threads: int, device: torch.device, *, tf32: bool = False) -> None:
    """Make torch use `threads` CPU threads, the wanted precision and repeatable algorithms.

    `tf32` lets a GPU round the inputs of convolutions and matrix products to 10 bits of mantissa;
    without it, and on the CPU, they are in full float32.

    On the CPU an operation without a repeatable algorithm is an error, on CUDA a warning, as
    some operations have none there.
    """
    import torch

    if device.type == "cuda":
        # Read when cuBLAS starts; without it its reductions are not repeatable.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_freed_memory()
    torch.set_num_threads(max(1, threads))
    if torch.get_num_interop_threads() != 1:
        try:
            torch.set_num_interop_threads(1)
        except RuntimeError:  # torch allows it only before its first parallel work
            log.warning("torch had already started its inter-operation threads")
    # As use_deterministic_algorithms(True), which would spend seconds on importing the compiler.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    # Filling each new tensor costs memory traffic and only serves to find unset values.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by its module
    torch.backends.cudnn.benchmark = False
    # Not on a CPU, where the first of them would reach matrix products of some processors.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32 and device.type == "cuda"
    _take_gradients_without_compiler()


@cache
def _take_gradients_without_compiler() -> None:
    """Let `torch.func.grad` leave out the import of torch's compiler, more than a second of one core.

    All that it wants of it is to switch compiled autograd off, which nothing here has switched on. A torch that goes
    another way stays as it is.
    """
    import torch
    from torch._functorch import eager_transforms

    usual = getattr(eager_transforms, "_autograd_grad", None)
    if usual is None or "torch._dynamo" in sys.modules:
        return

    def gradients(
        outputs: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
        grad_outputs: Sequence[torch.Tensor] | None = None,
        retain_graph: bool = False,
        create_graph: bool = True,
    ) -> tuple[torch.Tensor, ...]:
        options = {"retain_graph": retain_graph, "create_graph": create_graph}
        if "torch._dynamo" in sys.modules or not all(output.requires_grad for output in outputs):
            return usual(outputs, inputs, grad_outputs, **options)
        return torch.autograd.grad(outputs, inputs, grad_outputs, allow_unused=True, materialize_grads=True, **options)

    eager_transforms._autograd_grad = gradients


def describe_device(device: torch.device) -> str:
    """Return the device for records and logs, such as `cpu (x86_64)` or `cuda (NVIDIA H100)`."""
    if device.type == "cuda":
        import torch

        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()})"


def peak_memory_mb(device: torch.device | None = None) -> float:
    """Return the most memory held so far, in MiB: on a CUDA device its own, else the process's."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_KEEP = 1 << 30


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks below 1 GiB instead of giving them back, and torch to ask for huge pages.

    Activations of a few MiB are freed and made again at every step; by default each time costs a system call and
    a page fault per 4 KiB, which more than doubles the time of a Conv4 forward pass on a CPU. Where a block has to
    come from the kernel all the same (above 64 MiB in any thread but the first), huge pages make it 512 times fewer
    faults; torch looks at its variable at its first tensor of 2 MiB.
    Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        mallopt(threshold, _KEEP)


_DEVICES = "/dev/nvidia[0-9]*"
_WINDOWS_BRIDGE = "/dev/dxg"  # the Windows subsystem for Linux shows no device files of its own


def gpu_is_visible() -> bool:
    """Whether CUDA programs started here would find a device; `CUDA_VISIBLE_DEVICES` may hide all of them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"}:
        return False
    return bool(glob.glob(_DEVICES)) or (os.path.exists(_WINDOWS_BRIDGE) and bool(shutil.which("nvidia-smi")))
