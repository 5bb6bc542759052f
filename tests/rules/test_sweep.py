"""A sweep from nothing: an experiment for each combination, zoos trained once, one table in the end."""

import pytest

from dfml.files.reading import sha256_file
from support.workflow import Workflow

pytestmark = pytest.mark.slow


def test_a_sweep_runs_every_point_on_the_same_zoos_and_compares_them(tmp_path):
    workflow = Workflow.tiny(tmp_path / "workflow", "tiny", methods=["random", "zoo_features"])
    (workflow.folder / "dvc.yaml").touch()
    run = workflow.module("dfml.cli.main", "sweep", "evaluation.episodes=5,6", "evaluation.queries=2")
    assert run.status == 0, run.output
    results, name = workflow.folder / "results", "tiny_evaluation_episodes_{}_evaluation_queries_2"
    assert {path.name for path in results.iterdir()} == {name.format(count) for count in (5, 6)}
    zoos = [next((results / name.format(count)).rglob("zoo.safetensors")) for count in (5, 6)]
    assert zoos[0].resolve() == zoos[1].resolve()
    assert sha256_file(zoos[0]) == sha256_file(zoos[1])
    receipts = [len(list(results.glob(f"{name.format(count)}/receipts/train_zoo/**/*.json"))) for count in (5, 6)]
    assert receipts == [1, 0]
    assert "Accuracy, %" in run.output
