"""Whether CUDA works here, asked of the driver itself: torch, whose import takes seconds, is only looked at."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from dfml.compute.device import gpu_is_visible

_LIBRARY = "libcuda.so.1"
# NVIDIA's driver for Linux from which on every CUDA of that major version works.
_DRIVERS = {12: "525.60.13", 13: "580.65.06"}


@dataclass(frozen=True)
class Cuda:
    """How many GPUs can be used here, and why that many, for people."""

    gpus: int
    why: str

    def line(self, *, asked: bool = True) -> str:
        """What is said at the start of a run; ``asked`` is False where GPUs were turned off."""
        if not self.gpus:
            return f"Training on the CPU, jobs side by side: {self.why}."
        if not asked:
            return f"Training on the CPU, jobs side by side: no GPU is to be used (gpu=0), though {self.why}."
        return f"Training on the GPU, one job at a time unless told otherwise: {self.why}."


def look_for_cuda() -> Cuda:
    """Load the driver and start CUDA, without a device being claimed."""
    if not gpu_is_visible():
        return Cuda(0, "no GPU is visible here")
    built_for = _cuda_of_torch()
    if built_for is None:
        return Cuda(0, "there is a GPU, but the installed torch is one without CUDA")
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return Cuda(0, f"there is a GPU, but its driver's {_LIBRARY} cannot be loaded")
    version, gpus = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    known, wanted = f"{version.value // 1000}.{version.value % 1000 // 10}", int(built_for.split(".")[0])
    if version.value // 1000 < wanted:
        needed = f"driver {_DRIVERS[wanted]} or newer" if wanted in _DRIVERS else f"a driver for CUDA {wanted}"
        return Cuda(
            0, f"there is a GPU, but its driver knows CUDA {known} only; torch is built for {built_for}, needs {needed}"
        )
    if error := driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(gpus)):
        return Cuda(0, f"there is a GPU, but CUDA does not start (error {error} of the driver): see nvidia-smi")
    return Cuda(gpus.value, f"{gpus.value} GPU(s) with a driver for CUDA {known}")


def _cuda_of_torch() -> str | None:
    """The version of CUDA that the installed torch is built for, None for a torch without."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    built = re.search(r"^cuda\b[^=]*= '([\d.]+)'", text, re.MULTILINE)
    return built.group(1) if built else None
