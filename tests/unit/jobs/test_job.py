"""Running the function behind a rule."""

import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfml.errors import DfmlError
from dfml.jobs import job as module
from dfml.jobs.job import Job, Terminated, run_job
from dfml.jobs.progress import NullProgress
from support.configuration import UNTRACKED


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(
        rule="train_zoo",
        log=["logs/demo/train_zoo/a.log"],
        input=[],
        output=[],
        params={},
        threads=1,
        resources=SimpleNamespace(gpu=0),
        config=UNTRACKED,
        wildcards={"seed": "0"},
    )


@pytest.fixture(autouse=True)
def torch_untouched(monkeypatch):
    monkeypatch.setattr(module, "configure_torch", lambda threads, device, **_: None)


def text(snakemake):
    return Path(snakemake.log[0]).read_text(encoding="utf-8")


def fails(snakemake, function, capsys):
    """Run a job that must end the process; return its exit code and what stderr shows."""
    with pytest.raises(SystemExit) as caught:
        run_job(snakemake, function)
    return caught.value.code, capsys.readouterr().err


def test_what_a_result_was_made_from_goes_only_when_the_receipt_is_written(snakemake, tmp_path, capsys):
    resume = tmp_path / "resume.pt"
    resume.write_text("state")

    def stage(snakemake, job):
        Path("out.json").write_text("result")
        job.when_recorded(resume.unlink)

    Path("results/demo/receipts/train_zoo").parent.mkdir(parents=True)
    blocked = Path("results/demo/receipts/train_zoo")
    blocked.write_text("not a folder")
    snakemake.output = ["out.json"]
    code, _ = fails(snakemake, stage, capsys)
    assert code == 1
    assert resume.exists()
    blocked.unlink()
    run_job(snakemake, stage)
    assert not resume.exists()
    assert Path("results/demo/receipts/train_zoo/a.json").exists()


def test_the_log_is_written_line_by_line(snakemake):
    seen = []

    def stage(snakemake, job):
        logging.getLogger("dfml.zoo").info("model %d ready", 3)
        logging.getLogger("dfml.zoo").debug("detail")
        seen.append(text(snakemake))

    run_job(snakemake, stage)
    assert "train_zoo, threads=1 gpu=0 seed=0" in seen[0]
    assert '"git_commit"' in seen[0]
    assert seen[0].endswith("INFO model 3 ready\n")
    assert re.search(r"finished in 0 s, peak \d+ MiB\n$", text(snakemake))


def test_what_outlived_its_snakemake_does_not_write_into_the_log_of_the_next(snakemake):
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as orphan:

        def stage(snakemake, job):
            print("said by the orphan", file=orphan, flush=True)
            logging.getLogger("dfml.zoo").info("said by the next")

        run_job(snakemake, stage)
    assert "said by the next" in text(snakemake)
    assert "orphan" not in text(snakemake)


def test_logging_is_as_before_afterwards(snakemake):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), warnings.showwarning, signal.getsignal(signal.SIGTERM))
    run_job(snakemake, lambda snakemake, job: None)
    assert before == (
        root.level,
        root.handlers,
        warnings.showwarning,
        signal.getsignal(signal.SIGTERM),
    )


def test_warnings_go_to_the_log(snakemake):
    def stage(snakemake, job):
        warnings.simplefilter("always")
        warnings.warn("slow path", stacklevel=1)

    with warnings.catch_warnings():
        run_job(snakemake, stage)
    assert "UserWarning: slow path" in text(snakemake)


def test_a_user_error_is_one_line(snakemake, capsys):
    def stage(snakemake, job):
        raise DfmlError("zoo.models is 0;\n  give at least 1")

    assert fails(snakemake, stage, capsys) == (1, "train_zoo: zoo.models is 0; give at least 1\n")
    assert "ERROR zoo.models is 0" in text(snakemake)
    assert "Traceback" not in text(snakemake)


def test_any_other_error_has_its_traceback_in_the_log(snakemake, capsys):
    def stage(snakemake, job):
        raise ValueError("odd")

    code, shown = fails(snakemake, stage, capsys)
    assert (code, shown) == (1, f"train_zoo: ValueError: odd (traceback in {snakemake.log[0]})\n")
    assert "Traceback" in text(snakemake)
    assert "ValueError: odd" in text(snakemake)


def test_an_interrupt_is_one_line(snakemake, capsys):
    def stage(snakemake, job):
        raise KeyboardInterrupt

    assert fails(snakemake, stage, capsys) == (130, "train_zoo: interrupted\n")
    assert "Traceback" not in text(snakemake)


def test_sigterm_lets_the_stage_save_its_state(snakemake, capsys, tmp_path):
    def stage(snakemake, job):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Terminated:
            os.kill(os.getpid(), signal.SIGTERM)  # an impatient second one
            (tmp_path / "saved").touch()
            raise

    assert fails(snakemake, stage, capsys) == (143, "train_zoo: terminated\n")
    assert (tmp_path / "saved").exists()


def test_sigterm_is_not_caught_with_ordinary_errors():
    assert not issubclass(Terminated, Exception)


def test_a_job_without_a_log_reports_on_stderr(snakemake, capsys):
    snakemake.log = []

    def stage(snakemake, job):
        logging.getLogger("dfml.zoo").info("here")

    run_job(snakemake, stage)
    assert "INFO here" in capsys.readouterr().err


def test_a_job_knows_its_device_time_and_provenance(snakemake, monkeypatch):
    configured = []
    monkeypatch.setattr(module, "configure_torch", lambda threads, device, **_: configured.append(threads))
    job = Job("train_zoo", 2, 0, NullProgress())
    assert job.provenance().device is None
    assert (job.device.type, job.device.type) == ("cpu", "cpu")
    assert configured == [2]
    provenance = job.provenance()
    assert provenance.device.startswith("cpu")
    assert job.runtime.tf32 and provenance.tf32 is False
    assert {"python", "torch", "numpy", "dfml"} <= set(provenance.versions)
    assert provenance.rule == "train_zoo"
    assert provenance.git_commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", provenance.git_commit)
    assert job.seconds > 0
    assert job.peak_memory_mb > 1


def test_a_job_that_needs_no_torch_does_not_import_it(tmp_path):
    code = f"""
import sys
from types import SimpleNamespace
from dfml.jobs.job import run_job
snakemake = SimpleNamespace(
    rule="make_results",
    log=["logs/demo/a.log"],
    input=[],
    output=[],
    params={{}},
    threads=1,
    resources=SimpleNamespace(gpu=0),
    wildcards={{}},
    config={UNTRACKED},
)
run_job(snakemake, lambda snakemake, job: job.provenance())
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
