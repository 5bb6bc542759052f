"""Ten thousand episodes hold no more memory than the first thousand."""

import os
import subprocess
import sys

import pytest

from support.repository import ROOT

# In a process of its own, since what pytest has held before would hide it. Threads share a step, as in a job.
REPLAYED = """
import torch
from dfml.compute.device import keep_freed_memory, peak_memory_mb
from dfml.compute.optimisers import Adam
from dfml.metalearning.inner_loop import parameters_of
from dfml.metalearning.meta_step import MetaStep
from support.learners import SIDE, WAYS, encoder, generator, learner

keep_freed_memory()
torch.set_num_threads(2)
network, draws = encoder(), generator(0)
parameters = parameters_of(network)
inner = {"steps": 1, "learning_rate": 0.1, "first_order": False}
step = MetaStep(network, parameters, Adam([list(parameters.values())], [1e-3]), ways=WAYS, **inner)
labels = torch.arange(WAYS)
kept = []
for phase in range(10):
    for _ in range(250):
        support, query = (torch.rand(4, WAYS * n, 3, SIDE, SIDE, generator=draws) for n in (1, 2))
        step(support, query)
    with learner(network).private() as own:
        own.all_scores(support[0], query[0], labels, WAYS)
    kept.append(peak_memory_mb())
print(kept[0], kept[-1])
"""


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_episodes():
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    run = subprocess.run(
        [sys.executable, "-c", REPLAYED],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    first, last = map(float, run.stdout.split())
    # If an episode left its images behind, the other nine thousand would have left some 200 MB.
    assert last < first + 16
