"""Every file here is refused in one line, at once and in little memory, and nothing of it is obeyed."""

import pytest
import torch

from support.fuzzing import alarm, limited_memory

LITTLE = 1 << 28  # bytes of address space; what the files ask for is thousands of times more


@pytest.fixture(autouse=True)
def bounded():
    """Little memory and little time."""
    torch.zeros(1).isfinite().all()  # what torch sets up once does not count
    with limited_memory(LITTLE), alarm(10):
        yield
