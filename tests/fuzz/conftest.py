"""Where damaged files are read: quietly, on one thread, in memory."""

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch


@pytest.fixture(autouse=True)
def one_quiet_thread():
    """Warnings of the log about damaged resume files are what is wanted, and too many to keep."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    torch.set_num_threads(before)


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where there is one: a hundred thousand files are slow to write on a disk."""
    there = Path("/dev/shm")
    with TemporaryDirectory(dir=there if os.access(there, os.W_OK) else tmp_path) as folder:
        yield Path(folder)
