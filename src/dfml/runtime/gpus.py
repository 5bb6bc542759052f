"""Whether this machine has a GPU, answered without loading torch or starting CUDA."""

import glob
import os
import shutil

_DEVICES = "/dev/nvidia[0-9]*"
_WINDOWS_BRIDGE = "/dev/dxg"  # the Windows subsystem for Linux shows no device files of its own


def gpu_is_visible() -> bool:
    """Whether CUDA programs started here would find a device; `CUDA_VISIBLE_DEVICES` may hide all of them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"}:
        return False
    return bool(glob.glob(_DEVICES)) or (os.path.exists(_WINDOWS_BRIDGE) and bool(shutil.which("nvidia-smi")))
