"""Jobs that fail, need more memory, lose their node or their head: in the end everything is there."""

import pytest

pytestmark = pytest.mark.slurm

# Every job writes down by which SLURM job it was run.
FAILING = """
rule all:
    input: "fails_once", "hungry"

rule fails_once:
    output: "fails_once"
    resources: mem_mb=400, runtime=60, gpu=1
    shell:
        "echo $SLURM_JOB_ID GPU $CUDA_VISIBLE_DEVICES >> {rule}.jobs; "
        "test -e {rule}.before && touch {output} || {{ touch {rule}.before; exit 3; }}"

rule hungry:
    output: "hungry"
    resources: mem_mb=1, runtime=60
    shell:
        "echo $SLURM_JOB_ID >> {rule}.jobs; "
        "python -c 'import time; held = bytearray(600 * 2**20); time.sleep(4)' && touch {output}"
"""
# Takes hours at first, a moment when it is run again.
SLOW = """
rule slow:
    output: "slow"
    resources: mem_mb=400, runtime=300
    shell:
        "echo $SLURM_JOB_ID >> {rule}.jobs; "
        "test -e {rule}.before || {{ touch {rule}.before; sleep 9999; }}; touch {output}"
"""


@pytest.fixture
def written(head):
    """Reads what the jobs of a rule have written down."""
    return lambda rule: (head.folder / f"{rule}.jobs").read_text().splitlines()


def start_slow(head, cluster) -> None:
    """Start `slow` and wait until it runs."""
    (head.folder / "Snakefile").write_text(SLOW)
    head.start()
    cluster.wait_until((head.folder / "slow.before").exists, "the job runs")


def test_a_failed_job_is_tried_again_and_one_without_memory_gets_more(cluster, head, written):
    (head.folder / "Snakefile").write_text(FAILING)
    head.run("--set-resources", "hungry:mem_mb=500 * attempt")

    jobs = [line.split(" GPU ") for line in written("fails_once")]
    assert [gpu for _, gpu in jobs] == ["0", "0"]
    assert [cluster.record(job)["JobState"] for job, _ in jobs] == ["FAILED", "COMPLETED"]

    first, second = map(cluster.record, written("hungry"))
    assert (first["JobState"], first["MinMemoryNode"]) == ("FAILED", "500M")
    assert (second["JobState"], second["MinMemoryNode"]) == ("COMPLETED", "1000M")
    log = head.folder / ".snakemake" / "slurm_logs" / "rule_hungry" / f"{first['JobId']}.log"
    assert "exceeded memory limit" in log.read_text()


def test_a_job_outlives_its_node(cluster, head, written):
    start_slow(head, cluster)
    cluster.crash_node()
    cluster.start_node()
    assert head.finish() == 0, head.output
    # Left to SLURM: it was begun twice under one number, and Snakemake did not see it fail.
    first, second = written("slow")
    assert first == second
    assert cluster.record(first)["Restarts"] == "1"
    assert "Trying to restart" not in head.output


def test_an_interrupted_head_takes_its_jobs_along_and_can_be_called_again(cluster, head, written):
    start_slow(head, cluster)
    head.interrupt()
    assert head.finish() != 0
    (job,) = written("slow")
    cluster.wait_until(lambda: cluster.record(job)["JobState"] == "CANCELLED", "the job is cancelled")

    head.run()
    assert (head.folder / "slow").exists()
    assert len(written("slow")) == 2
