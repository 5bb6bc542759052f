"""Memory does not grow with the number of models, nor with the number of episodes."""

import pytest

from benchmarks.pools import write_random_zoo
from dfml.artefacts.zoo import WEIGHTS
from support.memory import KEPT, ask_everyone, iterate, peaks
from support.zoo import SIDE


def test_a_larger_pool_takes_no_more_memory_for_weights(tmp_path):
    """Loaded and asked, 200 models more take less than a third of what their weights are, 87 MiB."""
    sizes = (2 * KEPT, 200 + 2 * KEPT)
    small, large = (write_random_zoo(tmp_path / str(models), models, side=SIDE, width=64) for models in sizes)
    further = ((large / WEIGHTS).stat().st_size - (small / WEIGHTS).stat().st_size) / 2**20
    before, after = peaks(ask_everyone, small, large)
    assert further > 80
    assert after - before < further / 3


# An iteration has forty episodes; the longer one is ten thousand.
@pytest.mark.parametrize(("first", "further"), [(5, 20), pytest.param(50, 200, marks=pytest.mark.slow)])
def test_more_iterations_of_inversion_and_replay_take_no_more_memory(first, further):
    before, after = peaks(iterate, first, further)
    assert after - before < 10
