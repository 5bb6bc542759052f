"""Runs the function behind a workflow rule: log, errors, device, provenance."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dfml.artefacts.provenance import Provenance
from dfml.compute.device import configure_torch, describe_device, peak_memory_mb, select_device
from dfml.errors import DfmlError
from dfml.jobs.claim import claim_path, claimed
from dfml.jobs.logs import FORMAT, HEAD_TELLS
from dfml.jobs.progress import LogProgress, Progress, duration
from dfml.jobs.provenance import circumstances, digests, plain_params, receipt_path, write_receipt
from dfml.jobs.settings import RuntimeSettings

if TYPE_CHECKING:
    import torch


log = logging.getLogger(__name__)


class Terminated(BaseException):
    """The process was asked to end (SIGTERM).

    It may come in the middle of an iteration: save on it only a state that is whole.
    """


@dataclass(frozen=True)
class Untracked:
    """What a job is told beside its parameters: none of it makes a finished job run again.

    Only ``runtime.tf32`` changes results, on a GPU; a record says whether it was used.

    Attributes:
        experiment: Name of the experiment, and of its folders.
        runtime: How jobs run.
        datasets: The user's folder of every data set by name, None for an embedded one.
        custom_methods: Files of the user's own methods by name.
        custom_networks: Files of the user's own networks by name.
        cards: Cards of the imported zoos by name.
        ways: Classes of a task, as many as a split needs.
    """

    experiment: str
    runtime: RuntimeSettings
    datasets: Mapping[str, str | None]
    custom_methods: Mapping[str, str]
    custom_networks: Mapping[str, str]
    cards: Mapping[str, str]
    ways: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Untracked:
        """From the checked configuration as plain values."""
        return cls(
            experiment=config["experiment"],
            runtime=RuntimeSettings.model_validate(config["runtime"]),
            datasets={name: own["path"] for name, own in config["datasets"].items()},
            custom_methods=config["custom_methods"],
            custom_networks=config["custom_networks"],
            cards={name: zoo["card"] for name, zoo in config["zoos"].items()},
            ways=config["ways"],
        )


class Job:
    """What a stage may know about the process it runs in.

    Attributes:
        rule: The rule's name.
        threads: CPU threads granted.
        gpu: GPUs granted, 0 or 1.
        progress: Where loops report to.
        untracked: What it is told beside its parameters; None in a process without a workflow.
        settings: Everything that was set for it, as plain values.
        inputs: The files it was given.
    """

    def __init__(
        self,
        rule: str,
        threads: int,
        gpu: int,
        progress: Progress,
        *,
        untracked: Untracked | None = None,
        settings: Mapping[str, Any] | None = None,
        inputs: Sequence[str] = (),
    ) -> None:
        self.rule = rule
        self.settings, self.inputs = dict(settings or {}), tuple(inputs)
        self.threads = threads
        self.gpu = gpu
        self.progress = progress
        self._untracked = untracked
        self._device: torch.device | None = None
        self._needless: list[Callable[[], object]] = []
        self._start = time.perf_counter()

    @property
    def untracked(self) -> Untracked:
        """What it is told beside its parameters; there is none outside a workflow."""
        assert self._untracked is not None
        return self._untracked

    @property
    def runtime(self) -> RuntimeSettings:
        """How it runs."""
        return self._untracked.runtime if self._untracked else RuntimeSettings()

    @property
    def device(self) -> torch.device:
        """The device to run on, with torch configured for it; first use imports torch."""
        if self._device is None:
            self._device = select_device(self.gpu)
            configure_torch(self.threads, self._device, tf32=self.runtime.tf32)
        return self._device

    @property
    def seconds(self) -> float:
        """Wall time since the job began."""
        return time.perf_counter() - self._start

    @property
    def peak_memory_mb(self) -> float:
        """The most memory held so far on the job's device, in MiB."""
        return peak_memory_mb(self._device)

    def when_recorded(self, remove: Callable[[], object]) -> None:
        """Call it once outputs and receipt are written: until then Snakemake may throw away what is there."""
        self._needless.append(remove)

    def _recorded(self) -> None:
        for remove in self._needless:
            remove()

    def provenance(self) -> Provenance:
        """Where a result comes from: what a record says of the job that made it.

        `command` is what was typed, None if that is not known. `git_commit` is None outside a repository and ends
        in `-dirty` where the package differs from the commit. `device` is None as long as the job has not used one.
        `inputs` has the SHA-256 of each file that the job was given.
        """
        return Provenance(
            rule=self.rule,
            **circumstances(),
            device=None if self._device is None else describe_device(self._device),
            tf32=self.runtime.tf32 and self._device is not None and self._device.type == "cuda",
            settings=self.settings,
            inputs=self._input_digests,
        )

    @cached_property
    def _input_digests(self) -> dict[str, str]:
        return digests(self.inputs)


def run_job(snakemake: Any, function: Callable[[Any, Job], object]) -> None:
    """Call `function(snakemake, job)` the way every rule's script does.

    Logging, warnings and errors go to the rule's log, line by line. A DfmlError ends the process
    with one line on stderr and exit code 1; any other error does too, and its traceback is in
    the log. Where `HEAD_TELLS` is set, stderr stays empty. SIGTERM reaches the function as
    Terminated, so that it may still save its state. If the same job is begun again meanwhile,
    this one writes nothing more.
    """
    path = Path(snakemake.log[0]) if len(snakemake.log) else None
    with _logging_to(path), _sigterm_raises():
        gpu = int(getattr(snakemake.resources, "gpu", 0))
        untracked = Untracked.of(snakemake.config)
        job = Job(
            str(snakemake.rule),
            int(snakemake.threads),
            gpu,
            LogProgress(),
            untracked=untracked,
            settings=plain_params(snakemake.params),
            inputs=[str(file) for file in snakemake.input],
        )
        try:
            wildcards = " ".join(f"{name}={value}" for name, value in snakemake.wildcards.items())
            log.info("%s, threads=%d gpu=%d %s", job.rule, job.threads, job.gpu, wildcards)
            if "torch" in sys.modules:
                job.device  # noqa: B018 - configures torch also for a stage that never asks
            log.info("%s", json.dumps(job.provenance().model_dump()))
            if path is None:
                function(snakemake, job)
                job._recorded()
            else:
                experiment, outputs = untracked.experiment, [str(file) for file in snakemake.output]
                with claimed(claim_path(path, experiment)):
                    function(snakemake, job)
                    write_receipt(receipt_path(path, experiment), job.provenance(), outputs)
                    job._recorded()
            log.info("finished in %s, peak %.0f MiB", duration(job.seconds), job.peak_memory_mb)
        except DfmlError as error:
            log.error("%s", error)
            _exit(1, job.rule, str(error))
        except KeyboardInterrupt:
            log.error("interrupted")
            _exit(128 + signal.SIGINT, job.rule, "interrupted")
        except Terminated:
            log.error("terminated")
            _exit(128 + signal.SIGTERM, job.rule, "terminated")
        except Exception as error:
            named = f"{type(error).__name__}: {error}"
            log.exception("%s", named)
            where = f" (traceback in {path})" if path else ""
            _exit(1, job.rule, f"{named}{where}")


def _exit(code: int, rule: str, message: str) -> NoReturn:
    if HEAD_TELLS not in os.environ:
        sys.stderr.write(f"{rule}: {' '.join(message.split())}\n")
        sys.stderr.flush()
    raise SystemExit(code)


@contextmanager
def _logging_to(path: Path | None) -> Iterator[None]:
    """Send logging and warnings to the file, or to stderr without one; handlers flush each line."""
    if path is None:
        handler: logging.StreamHandler[Any] = logging.StreamHandler()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a file of its own: a job that outlived its Snakemake may still write to that one
        handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the saving short
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
