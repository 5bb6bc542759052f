"""ICFIL on a tiny experiment: asked for in the configuration, it makes one more table and repeats nothing."""

import csv
import json

import pytest

SIZES = {"images_per_class": 2, "inversion_steps": 2, "steps": 1}


def test_it_is_measured_beside_the_evaluation(again):
    again.configure(methods=["random", "purer_maml", "purer_protonet"])
    run = again.snakemake("--until", "evaluate", "--cores", "2")
    assert run.status == 0, run.output
    # More episodes than there are: all of them.
    again.configure(icfil={"episodes": 10_000, **SIZES})
    run = again.snakemake("tabulate_icfil", "--cores", "2")
    assert run.status == 0, run.output
    # Nothing learned or evaluated before is made again; ProtoNet is not fine-tuned.
    assert run.jobs == {"calibrate": 1, "tabulate_icfil": 1}
    (path,) = again.folder.glob("results/tiny/evaluation/**/icfil.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert {row["batch_norm"] for row in rows} == {"transductive", "support"}

    # Without it the accuracies are those of the evaluation.
    record = json.loads(path.with_name("record.json").read_text(encoding="utf-8"))
    assert record["method"] == "purer_maml"
    evaluated = {row["batch_norm"]: row for row in record["results"] if row["rule"] == "finetune"}
    for row in rows:
        assert row["episodes"] == evaluated[row["batch_norm"]]["episodes"]
        assert row["without"] == pytest.approx(evaluated[row["batch_norm"]]["accuracy"])
        assert row["difference"] == pytest.approx(row["with"] - row["without"])
    with (again.folder / "results/tiny/tables/icfil.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(float(row["without"]), float(row["with"])) for row in table] == [(r["without"], r["with"]) for r in rows]
