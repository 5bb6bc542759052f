"""The C allocator's habits, which decide how long large CPU tensors take to make."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_KEEP = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks below 1 GiB instead of giving them back, and torch to ask for huge pages.

    Activations of a few MiB are freed and made again at every step; by default each time costs a system call and
    a page fault per 4 KiB, which more than doubles the time of a Conv4 forward pass on a CPU. Where a block has to
    come from the kernel all the same (above 64 MiB in any thread but the first), huge pages make it 512 times fewer
    faults; torch looks at its variable at its first tensor of 2 MiB.

    Returns:
        Whether the allocator took the setting; False where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEEP)) and bool(mallopt(_TRIM_THRESHOLD, _KEEP))
