"""The workflow itself, cut to one pool and two methods: a cluster computes what one machine does."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from slurm.head import ACCOUNT, PARTITION, Head
from support.workflow import Workflow

pytestmark = pytest.mark.slurm
RESULTS = Path("results") / "tiny"
FILES = {
    "zoo.safetensors": 1,
    "judges.safetensors": 1,
    "generator.safetensors": 1,
    "learner.safetensors": 2,
    "record.json": 2,
}
GPU_RULES = {"train_zoo": 1, "invert": 1, "time_inversion": 1, "meta_learn": 2, "evaluate": 2}


@pytest.fixture
def fresh(tmp_path) -> Workflow:
    """The smoke configuration, smaller still; nothing has run."""
    workflow = Workflow.copied_to(tmp_path / "local")
    config = workflow.folder / "config"
    (config / "config.yaml").write_text((config / "smoke.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    workflow.configure(
        experiment="tiny",
        seeds=[0],
        shots=[1],
        methods=["random", "free"],
        pools={"multi_architecture": {"methods": []}},
    )
    return workflow


def numbers(folder: Path) -> dict[str, object]:
    """Digests of all weights, and all accuracies, by their path."""
    results = folder / RESULTS
    weights = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in results.rglob("*.safetensors")}
    records = {path: json.loads(path.read_text(encoding="utf-8"))["results"] for path in results.rglob("record.json")}
    return {path.relative_to(folder).as_posix(): value for path, value in (weights | records).items()}


def test_a_cluster_computes_the_same_numbers(fresh, cluster, tmp_path):
    distributed = fresh.duplicate(tmp_path / "distributed")
    head = Head(distributed.folder, cluster)
    sources = {"PYTHONPATH": str(distributed.folder / "src")}
    try:
        head.run("--slurm-keep-successful-logs", "--", "results", **sources)
    finally:
        head.stop()
    assert (distributed.folder / RESULTS / "tables" / "main.md").exists()

    # Training asks for a GPU, whatever the login node has; preparation does not; what takes a moment stays there.
    logs = distributed.folder / ".snakemake" / "slurm_logs"
    jobs = {folder.name.removeprefix("rule_"): [log.stem for log in folder.rglob("*.log")] for folder in logs.iterdir()}
    assert {rule: len(ids) for rule, ids in jobs.items()} == GPU_RULES | {"prepare_images": 1}
    for rule, ids in jobs.items():
        for record in map(cluster.record, ids):
            assert (record["JobState"], record["Restarts"]) == ("COMPLETED", "0")
            assert (record["Partition"], record["Account"]) == (PARTITION, ACCOUNT)
            assert record.get("TresPerJob") == (None if rule == "prepare_images" else "gres:gpu:1")
    (log,) = (distributed.folder / "logs" / "tiny" / "train_zoo").rglob("*.log")
    assert "train_zoo, threads=1 gpu=1" in log.read_text(encoding="utf-8")

    # Neither the cluster nor the change of executor is a reason to run anything again.
    assert distributed.dry_run("results").nothing_to_do

    run = fresh.snakemake("--until", "evaluate", "--cores", "2")
    assert run.status == 0, run.output
    expected = numbers(fresh.folder)
    assert Counter(Path(path).name for path in expected) == FILES
    assert {path: value for path, value in numbers(distributed.folder).items() if path in expected} == expected
