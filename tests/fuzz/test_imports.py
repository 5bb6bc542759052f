"""Damaged cards, weights from elsewhere and imported zoos: read or refused, never hung, and nothing else is run."""

import pytest

from support.foreign import IMPORTS
from support.fuzzing import MANY, read_damaged


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files(memory, tmp_path):
    tried, failures = read_damaged(IMPORTS, 2_000_000, MANY, memory, tmp_path)
    assert failures == {}
    assert tried >= MANY
