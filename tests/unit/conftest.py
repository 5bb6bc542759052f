"""What holds for every unit test."""

import os

import pytest

from support.house import House

# Read when torch starts. Tiny tensors gain nothing from threads, and threads that wait for a busy core are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def house(tmp_path) -> House:
    """A folder with run.sh and the little it reads."""
    return House(tmp_path / "a-house")
