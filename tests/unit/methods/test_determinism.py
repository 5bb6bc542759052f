"""The same seed gives the same learner in every process."""

import os
import subprocess
import sys
from pathlib import Path

import dfml

TESTS = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
import torch
from support.cells import fit_cell, free_options, official_options
from support.zoo import write_random_zoo
from dfml.compute.device import configure_torch
from dfml.files.reading import sha256_file

configure_torch(1, torch.device("cpu"))
root = Path(sys.argv[1])
for seed in (0, 1):
    zoo = write_random_zoo(root / f"zoo{seed}", seed=seed)
    print(sha256_file(zoo / "zoo.safetensors"))
    for method, options in (("free", free_options), ("free_official", official_options)):
        folder = fit_cell(root / f"{method}{seed}", method, options(iterations=1), zoos=[zoo], seed=seed)
        print(sha256_file(folder / "learner.safetensors"))
"""


def start(folder, hash_seed):
    paths = os.pathsep.join([str(TESTS), str(Path(dfml.__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_fresh_processes_make_the_same_learners(tmp_path):
    processes = [start(tmp_path / str(number), hash_seed=number) for number in (1, 2)]
    found = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert found[0] == found[1]
    assert len(set(found[0])) == 6  # zoos and learners of two seeds, all different
