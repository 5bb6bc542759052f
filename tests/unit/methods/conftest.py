from pathlib import Path

import pytest

from dfml.zoo.pool import Pool
from support.learners import one_thread  # noqa: F401 - an autouse fixture
from support.zoo import CPU, save_pattern_images, write_random_zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory) -> Path:
    """A zoo of four Conv4 on eight classes."""
    return write_random_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="session")
def pool(zoo) -> Pool:
    """The pool of that zoo; nothing may change it."""
    return Pool.load([zoo], label_space="global", device=CPU)


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Prepared images; nothing may change them."""
    return save_pattern_images(tmp_path_factory.mktemp("images"), classes=5, per_class=8).parent
