import pytest
import torch

import dfml
from support.learners import one_thread  # noqa: F401 - an autouse fixture
from support.use import photos, shelf_learner


@pytest.fixture
def learner(tmp_path):
    return dfml.load(shelf_learner(tmp_path / "learner"))


@pytest.fixture
def task():
    """Support images, labels 0 … 4 and queries of five classes, three and nine of each."""
    found = photos(5)
    labels = torch.arange(5).repeat_interleave(3)
    return torch.cat([own[:3] for own in found]), labels, torch.cat([own[3:] for own in found])
