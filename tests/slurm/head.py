"""Snakemake as it runs on a login node: under the profile of clusters, with what a site adds to it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from slurm.cluster import PATIENCE, Cluster
from support.repository import ROOT

PROFILE = ROOT / "workflow" / "profiles" / "slurm"
PARTITION, ACCOUNT = "main", "tests"
# What a site sets, and shorter waits: the state of jobs is asked for after 4 seconds, then after 14, 24 and so on.
SITE = (
    *("--workflow-profile", str(PROFILE)),
    *("--default-resources", f"slurm_partition={PARTITION}", f"slurm_account={ACCOUNT}"),
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "4"),
    *("--latency-wait", "10"),
)


@dataclass
class Head:
    """Calls of Snakemake in a folder with a Snakefile, one after the other; each goes on in the background."""

    folder: Path
    cluster: Cluster
    process: subprocess.Popen | None = None

    def start(self, *arguments: str, **variables: str) -> None:
        """Start Snakemake; what it prints goes to a file."""
        # A test run in the background ignores Ctrl-C, and would pass that on.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "snakemake", *SITE, *arguments]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | self.cluster.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def finish(self) -> int:
        """Wait for its end; returns its exit status."""
        return self.process.wait(PATIENCE)

    def run(self, *arguments: str, **variables: str) -> None:
        """Start it and wait for its success."""
        self.start(*arguments, **variables)
        assert self.finish() == 0, self.output

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """End what a failed test has left running."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "head.log"

    @property
    def output(self) -> str:
        """What the last call has printed."""
        return self.log.read_text(encoding="utf-8")
