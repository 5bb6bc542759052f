"""A real SLURM of one node in a temporary folder: its own munge, its own ports, GPUs that are none."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "setpriv")
CPUS, MEMORY_MB = 2, 16000
# Seconds after which something is taken to have failed; generous, as other work may slow the machine down.
PATIENCE = 600
# Devices that may be asked for and that exist everywhere. SLURM looks at the kind of file only; torch finds no CUDA.
GPUS = ("null", "zero")

# What the machine has is of no account (config_overrides), so that jobs wait for the same things everywhere.
# JobAcctGather makes jobs that outgrow their memory end as OUT_OF_MEMORY without control groups.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmdTimeout=60
MinJobAge=86400
KillWait=2
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def obstacle() -> str | None:
    """Why no cluster can be started here, if that is so."""
    missing = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (.ci/install-slurm installs them)"
    if os.geteuid() != 0:
        return "slurmd starts jobs of other users, so it must be started by root"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "not installed: snakemake-executor-plugin-slurm"
    running = sorted({name for _, name in processes() if name in DAEMONS[1:]})
    return f"already running on this machine: {', '.join(running)}" if running else None


def search_path() -> str:
    """PATH with the folders of daemons."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def processes() -> Iterator[tuple[Path, str]]:
    """Folder in /proc and name of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended in the meantime
            yield folder, (folder / "comm").read_text().strip()


@dataclass
class Cluster:
    """The cluster of one folder, whose path must be short: sockets in it have names of 107 characters at most."""

    folder: Path
    host: str = field(default_factory=lambda: socket.gethostname().split(".")[0])
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which SLURM's commands speak to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{self.folder / 'bin'}:{search_path()}"}

    def start(self) -> None:
        """Write the configuration and start everything."""
        self.folder.chmod(0o711)  # munged wants its socket to be within everybody's reach
        for name in ("bin", "state", "spool", "gpus"):
            (self.folder / name).mkdir()
        for index, device in enumerate(GPUS):
            (self.folder / "gpus" / str(index)).symlink_to(f"/dev/{device}")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        # Snakemake's executor hides every SLURM_ variable from srun, which then looks for a configuration in /etc only.
        srun = self.folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        facts = {"host": self.host, "folder": self.folder, "ports": free_ports(2)}
        facts |= {"cpus": CPUS, "memory": MEMORY_MB, "gpus": len(GPUS)}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**facts))
        devices = f"{self.folder}/gpus/[0-{len(GPUS) - 1}]"
        (self.folder / "gres.conf").write_text(f"NodeName={self.host} Name=gpu File={devices}\n")
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        self._start("munged", "--foreground", *(f"--{name}={self.folder / file}" for name, file in files.items()))
        self.wait_until((self.folder / "munge.socket").exists, "munged answers")
        self._start("slurmctld", "-D")
        self.start_node()
        self.wait_until(lambda: self.state == "idle", "the node is idle")

    def start_node(self) -> None:
        """Start the node's daemon; the node comes up by itself."""
        self._start("slurmd", "-D")

    def crash_node(self) -> None:
        """End the node's daemon and everything that jobs started there, as a loss of power does."""
        slurmd = self.daemons.pop("slurmd")
        slurmd.kill()
        slurmd.wait()
        self._kill_processes()
        # The controller would find out by itself after SlurmdTimeout.
        self.run("scontrol", "update", f"nodename={self.host}", "state=down", "reason=lost")

    def stop(self) -> None:
        """End every process of the cluster."""
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._kill_processes()

    @property
    def state(self) -> str:
        """State of the node, such as `idle`, `mixed`, `down`; empty while nothing answers."""
        return self.run("sinfo", "--noheader", "--format=%T", check=False).strip().rstrip("*")

    def record(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job, finished ones included."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands; returns what it prints."""
        done = subprocess.run(
            command, env=os.environ | self.environment, check=check, capture_output=True, text=True, timeout=120
        )
        return done.stdout

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; fails with the ends of all logs when it does not come true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in self.folder.glob("*.log"))
                raise AssertionError(f"did not come true: {what}; ended: {', '.join(ended) or 'nothing'}\n{logs}")
            time.sleep(0.2)

    def _start(self, name: str, *arguments: str) -> None:
        # A killed test run takes its daemons with it; left behind they would stop every later one.
        command = ["setpriv", "--pdeathsig", "TERM", name, *arguments]
        with (self.folder / f"{name}.out.log").open("a") as output:
            self.daemons[name] = subprocess.Popen(
                command, env=os.environ | self.environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def _kill_processes(self) -> None:
        """Kill what jobs of this cluster started: processes with its configuration and a job in their environment."""
        ours = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        for folder, name in processes():
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                inside_job = any(entry.startswith(b"SLURM_JOB_ID=") for entry in environment)
                if ours in environment and (inside_job or name == "slurmstepd"):
                    os.kill(int(folder.name), signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
