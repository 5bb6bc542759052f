"""What `dfml verify` finds on a shelf of made-up files."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from dfml.artefacts.provenance import Provenance
from dfml.cli import verify as module
from dfml.cli.main import main
from dfml.cli.tools import Output
from dfml.cli.verify import Finding, examine
from dfml.errors import DfmlError
from dfml.jobs.provenance import digests, write_receipt
from support import manifests

SHELF = Path("results/demo")
ZOO, LEARNER, RECORD = (f"results/demo/{name}" for name in ("zoo/zoo.json", "metalearning/learner.json", "record.json"))
CHAIN = {ZOO: ("train_zoo", []), LEARNER: ("meta_learn", [ZOO]), RECORD: ("evaluate", [LEARNER])}


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    """Three files, each made from the one before, with their receipts."""
    monkeypatch.chdir(tmp_path)
    for path, (rule, inputs) in CHAIN.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"content of {path}")
        write_receipt(SHELF / "receipts" / f"{rule}.json", provenance(inputs), [path])


def provenance(inputs):
    return Provenance(**manifests.provenance(inputs=digests(inputs)))


def outputs(pending=()):
    return [Output(path, rule, path in pending) for path, (rule, _) in CHAIN.items()]


def found(**plan):
    return {(finding.kind, finding.path) for finding in examine(outputs(**plan), SHELF)}


def test_an_untouched_shelf_has_nothing_to_be_said_of_it():
    assert found() == set()


def test_one_flipped_bit_is_damage_and_makes_what_came_of_it_stale():
    content = bytearray(Path(LEARNER).read_bytes())
    content[3] ^= 1
    Path(LEARNER).write_bytes(content)
    assert found() == {("damaged", LEARNER), ("stale", RECORD)}


def test_what_snakemake_would_make_again_is_stale_or_missing():
    Path(RECORD).unlink()
    assert found(pending=(LEARNER, RECORD)) == {("stale", LEARNER), ("missing", RECORD)}


def test_a_file_that_no_job_makes_is_foreign():
    for name in ("zoo/other.json", ".zoo.json.host.7.x.partial/zoo.json", "resume/a.pt"):
        path = SHELF / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert found() == {("foreign", "results/demo/zoo/other.json")}


def test_without_a_receipt_nothing_is_claimed():
    (SHELF / "receipts/train_zoo.json").unlink()
    assert found() == {("unattested", ZOO)}


def test_a_receipt_that_cannot_be_read_is_said_so():
    (SHELF / "receipts/train_zoo.json").write_text("{")
    assert found() == {("unreadable", "results/demo/receipts/train_zoo.json"), ("unattested", ZOO)}


def test_receipts_of_jobs_that_are_no_longer_asked_for_do_not_matter():
    write_receipt(SHELF / "receipts/old.json", Provenance(**manifests.provenance(inputs={ZOO: "0" * 64})), [])
    old = json.loads((SHELF / "receipts/old.json").read_text())
    old["outputs"] = {"results/demo/old.json": "0" * 64}
    (SHELF / "receipts/old.json").write_text(json.dumps(old))
    assert found() == set()


@pytest.mark.parametrize(
    ("kind", "status"), [("damaged", 1), ("stale", 1), ("missing", 1), ("unreadable", 1), ("foreign", 0), ("", 0)]
)
def test_the_command_fails_only_when_results_are_wrong(monkeypatch, capsys, kind, status):
    monkeypatch.setattr(module, "verify", lambda configuration: [Finding(kind, ZOO, "why")] if kind else [])
    monkeypatch.setattr(module, "require_repository", lambda: None)
    assert main(["verify"]) == status
    said = capsys.readouterr().out
    assert (f"{ZOO} (why)" in said) == bool(kind)
    assert ("up to date" in said) == (status == 0)


def test_what_was_never_run_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "fresh").mkdir()
    monkeypatch.chdir(tmp_path / "fresh")
    monkeypatch.setattr(module, "planned_outputs", lambda configuration: outputs())
    with pytest.raises(DfmlError, match="there is no results/demo: run the workflow"):
        module.verify(())


def test_outside_the_repository_it_says_so(capsys):
    assert main(["verify"]) == 1
    assert "call dfml from the root of the repository" in capsys.readouterr().err


def test_long_paths_are_not_broken(capsys):
    path = "results/demo/" + "x" * 300
    module.show([Finding("stale", path)], Console(width=80))
    assert path in capsys.readouterr().out
