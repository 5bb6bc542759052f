"""A network in a file of one's own: the example of docs/adding.md is trained, learned with and used."""

import json
from copy import deepcopy

import pytest
from safetensors.torch import load_file

from support.own_network import EXAMPLE
from support.use import photos, save_photos
from support.workflow import Workflow

OWN = {"family": "wide", "width": 6, "options": {"blocks": 2}}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The tiny experiment with this network for zoo and learner, run up to evaluation."""
    workflow = Workflow.tiny(
        tmp_path_factory.mktemp("own") / "workflow",
        "own",
        custom_networks={"wide": "nets/wide.py"},
        networks={"own": OWN},
        learner=deepcopy(OWN),  # YAML would say of the same one that it is the same
        pools={"single": {"networks": ["own"]}},
        methods=["random", "procedural_heads"],
    )
    (workflow.folder / "nets").mkdir()
    (workflow.folder / "nets/wide.py").write_text(
        f"{EXAMPLE}\n\nfrom activations_beside import MORE\n\nACTIVATIONS |= MORE\n", encoding="utf-8"
    )
    (workflow.folder / "nets/activations_beside.py").write_text("MORE = {}\n", encoding="utf-8")
    run = workflow.snakemake("--until", "evaluate", "--cores", "2")
    assert run.status == 0, run.output
    return workflow


def test_it_is_trained_and_learned_with(own):
    (zoo,) = own.folder.glob("results/own/zoo/*/own/seed0/zoo.json")
    spec = json.loads(zoo.read_text(encoding="utf-8"))["network"]
    assert (spec["family"], spec["width"], spec["options"]) == ("wide", 6, {"blocks": 2})
    learner = json.loads(next(own.folder.rglob("procedural_heads/1shot/seed0/learner.json")).read_text("utf-8"))
    assert learner["encoders"][0]["code"] == spec["code"]
    random, own_learner = (
        load_file(next(own.folder.rglob(f"{method}/1shot/seed0/learner.safetensors")))
        for method in ("random", "procedural_heads")
    )
    assert random.keys() == own_learner.keys()
    assert not any(random[name].equal(own_learner[name]) for name in random if name.endswith("body.0.weight"))
    record = json.loads(next(own.folder.rglob("procedural_heads/1shot/seed0/record.json")).read_text("utf-8"))
    assert {row["rule"] for row in record["results"]} == {"finetune", "centroid_euclidean", "centroid_cosine"}


def test_only_its_code_and_what_lies_beside_it_run_it_again(own, tmp_path):
    workflow = own.duplicate(tmp_path / "workflow")

    def jobs():
        return workflow.dry_run("--until", "evaluate").jobs

    workflow.append("nets/wide.py", "# a remark")
    workflow.configure(custom_networks={"other": "nets/wide.py"})
    assert jobs() == {}
    workflow.append("nets/activations_beside.py", "LESS = 0")
    # The learner of `random` is made of that network, too.
    assert jobs() == {"train_zoo": 1, "meta_learn": 2, "evaluate": 2}


def test_its_learner_is_used_by_those_who_name_the_file(own, tmp_path):
    save_photos(tmp_path / "photos", photos(2), ["cat", "dog"])
    learner = next(own.folder.rglob("procedural_heads/1shot/seed0/learner.json")).parent
    adapt = ["adapt", str(learner), str(tmp_path / "photos"), "-o", str(tmp_path / "pets.safetensors")]
    predict = ["predict", str(tmp_path / "pets.safetensors"), str(tmp_path / "photos/cat/00.png")]
    for command in (adapt, predict):
        refused = own.module("dfml.cli.main", *command)
        assert refused.status == 1 and "its file was not named" in refused.output
        assert "Traceback" not in refused.output
        run = own.module("dfml.cli.main", *command, "--network", "wide=nets/wide.py")
        assert run.status == 0, run.output
    assert "cat" in run.output
    wrong = own.module("dfml.cli.main", *predict, "--network", "wide")
    assert wrong.status == 1 and "give it as NAME=FILE" in wrong.output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"networks": {"own": {"options": {"blocks": 9}}}}, "options.blocks: Input should be less than or equal to 4"),
        ({"learner": {"options": {"depth": 9}}}, "options.depth: Extra inputs are not permitted (as `learner`"),
    ],
)
def test_what_will_not_do_is_said_before_the_first_job(own, tmp_path, wrong, said):
    workflow = own.duplicate(tmp_path / "workflow")
    workflow.configure(**wrong)
    run = workflow.snakemake("--until", "evaluate", "--cores", "2")
    assert run.status == 1 and said in run.output
    assert "Traceback" not in run.output and "rule train_zoo:" not in run.output
