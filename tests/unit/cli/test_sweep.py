"""What a sweep starts, and how it ends."""

import os
import signal
import subprocess
import sys

from support.faults import wait_until
from support.repository import ROOT

# In the place of Snakemake, which takes its time after Ctrl-C too.
SNAKEMAKE = """
import os, pathlib, sys, time

try:
    pathlib.Path("called").write_text(os.environ["DFML_COMMAND"])
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    pathlib.Path("unlocked").touch()
    sys.exit(1)
"""


def test_after_ctrl_c_snakemake_has_the_time_to_unlock_and_no_other_experiment_begins(tmp_path):
    for folder in ("config", "modules"):
        (tmp_path / folder).mkdir()
    for name in ("dvc.yaml", "workflow", "config/config.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "modules/snakemake.py").write_text(SNAKEMAKE)
    variables = {key: value for key, value in os.environ.items() if key != "SNAKEMAKE_OUTPUT_CACHE"}
    sweep = subprocess.Popen(
        # A test run in the background ignores Ctrl-C, and would pass that on.
        ["env", "--default-signal=INT", sys.executable, "-m", "dfml.cli.main", "sweep", "zoo.models=8,9"],
        cwd=tmp_path,
        env=variables | {"PYTHONPATH": str(tmp_path / "modules")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    called = tmp_path / "called"
    wait_until(lambda: sweep.poll() is not None or (called.exists() and called.read_text()), "an experiment begins")
    os.killpg(sweep.pid, signal.SIGINT)
    printed, _ = sweep.communicate()
    assert sweep.returncode == 128 + signal.SIGINT
    assert (tmp_path / "unlocked").exists()
    command = called.read_text()
    assert command.startswith('SNAKEMAKE_OUTPUT_CACHE="$PWD/.cache/zoos" snakemake --cache train_zoo --configfile ')
    assert printed == f"demo_zoo_models_8: {command}\n"
