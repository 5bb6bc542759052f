"""A zoo that several jobs make is the zoo that one job makes."""

import json

import pytest

from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS
from support.workflow import Workflow

pytestmark = pytest.mark.slow

TARGET = ("--until", "train_zoo", "--cores", "2")


def zoo_of(workflow: Workflow) -> list[object]:
    """Weights and facts of the workflow's zoo, but for its seconds and what made it."""
    (folder,) = (path.parent for path in (workflow.folder / "results/tiny/zoo").rglob(MANIFEST))
    manifest = json.loads((folder / MANIFEST).read_bytes())
    facts = {key: value for key, value in manifest.items() if key not in ("seconds", "provenance")}
    return [facts, *((folder / name).read_bytes() for name in (WEIGHTS, JUDGES))]


def test_jobs_of_three_models_make_the_zoo_of_one_job(tmp_path):
    whole = Workflow.tiny(tmp_path / "whole", "tiny", methods=["random", "best"])
    assert whole.snakemake(*TARGET).jobs["train_zoo"] == 1
    parts = Workflow.tiny(tmp_path / "parts", "tiny", methods=["random", "best"], runtime={"models_per_job": 3})
    run = parts.snakemake(*TARGET)
    assert run.status == 0, run.output
    # Six models and a judge.
    assert (run.jobs["train_zoo_part"], run.jobs["train_zoo"]) == (3, 1)
    assert zoo_of(parts) == zoo_of(whole)
    assert not [path for path in (parts.folder / "results/tiny/zoo_parts").rglob("*") if path.is_file()]
    assert not parts.dry_run("--until", "train_zoo").jobs
