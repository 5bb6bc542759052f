"""Named random streams."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from dfml.compute.seeds import derive_seed, numpy_rng, torch_generator


def test_a_seed_depends_on_the_root_and_every_name():
    seeds = {
        derive_seed(0),
        derive_seed(1),
        derive_seed(0, "zoo"),
        derive_seed(0, "zoo", 1),
        derive_seed(0, "zoo", "1"),
        derive_seed(0, 1, "zoo"),
        derive_seed(0, "zoo1"),
        derive_seed(0, "zo", "o1"),
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_another_process_and_for_numpy_integers():
    code = "from dfml.compute.seeds import derive_seed; print(derive_seed(7, 'zoo', 3))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive_seed(7, "zoo", 3) == derive_seed(np.int64(7), "zoo", np.int32(3))


def test_a_negative_root_is_refused():
    with pytest.raises(ValueError):
        derive_seed(-1, "zoo")


def test_generators_repeat_and_streams_differ():
    assert np.array_equal(numpy_rng(0, "a").random(8), numpy_rng(0, "a").random(8))
    assert not np.array_equal(numpy_rng(0, "a").random(8), numpy_rng(0, "b").random(8))

    def draw(*names):
        return torch.rand(8, generator=torch_generator(0, *names))

    assert torch.equal(draw("a"), draw("a"))
    assert not torch.equal(draw("a"), draw("b"))
