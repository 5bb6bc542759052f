"""A zoo from elsewhere in the workflow: imported, asked, inverted, learned from, measured or not; and never trained."""

import json

import pytest
import yaml

from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.cli.main import main
from support.lab import write_lab
from support.pictures import class_files, write_files
from support.workflow import Workflow


def configured(tmp_path, **pool):
    workflow = Workflow.copied_to(tmp_path / "workflow")
    (workflow.folder / "config/smoke.yaml").replace(workflow.folder / "config/config.yaml")
    card = write_lab(tmp_path / "lab")
    off = {"single": {"methods": []}, "multi_architecture": {"methods": []}}
    photos = write_files(tmp_path / "photos", class_files(dict.fromkeys("abcdef", 24)))
    told = {"datasets": [], "zoos": ["lab"], "evaluate": ["icons_colour", "photos"]} | pool
    workflow.configure(
        experiment="lab",
        datasets={
            "icons_colour": {"source": "embedded"},
            "photos": {"source": "folder", "path": str(photos), "fractions": [0, 0, 1]},
        },
        zoos={"lab": {"card": str(card)}},
        pools={**off, "lab": told},
        methods=["procedural_heads", "free"],
        shots=[1],
    )
    return workflow, card


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workflow, card = configured(tmp_path_factory.mktemp("lab"))
    run = workflow.snakemake("--cores", "2")
    assert run.status == 0, run.output
    return workflow, card, run


def test_no_model_is_trained_and_no_meta_train_image_read(done):
    workflow, _, run = done
    assert run.jobs["import_zoo"] == 1
    assert "train_zoo" not in run.jobs
    listed = json.loads((workflow.folder / "results/lab/zoo/lab/zoo.json").read_text())
    assert [model["name"] for model in listed["models"]] == ["birds", "plain", "grey", "sealed"]
    read = [
        path
        for receipt in (workflow.folder / "results/lab/receipts").rglob("*.json")
        for path in json.loads(receipt.read_text())["inputs"]
        if "prepare_images" not in str(receipt)
    ]
    assert read and not any("meta_train" in path for path in read)


def test_learners_are_measured_and_models_without_statistics_named(done):
    workflow, _, _ = done
    results = (workflow.folder / "results/lab/tables/main.md").read_text()
    assert "Heads on procedural images" in results and "FREE" in results
    assert "icons_colour" in results and "photos" in results  # of which all classes are for measuring
    (log,) = workflow.folder.glob("logs/lab/invert/lab/five/seed0.log")
    assert "no stored batch-norm statistics in plain, grey, sealed" in log.read_text()


def test_another_card_or_other_code_imports_again_and_a_remark_does_not(done, tmp_path):
    workflow, card, _ = done
    (again,) = [workflow.duplicate(tmp_path / "workflow")]
    nets = card.with_name("nets.py")
    code = nets.read_text()
    try:
        nets.write_text(f"# a remark\n{code}")
        # The file is newer: what it says is the same, and what it is made of was compared when it was imported.
        nets.write_text(code.replace("stride=4", "stride=2"))
        run = again.snakemake("-n")
        assert run.jobs["import_zoo"] == 1
        assert "prepare_images" not in run.jobs
    finally:
        nets.write_text(code)


def test_what_the_zoo_holds_is_shown_without_running_its_code(done, capsys, monkeypatch):
    workflow, card, _ = done
    monkeypatch.setenv("COLUMNS", "160")
    code = card.with_name("nets.py")
    kept = code.read_text()
    try:
        code.write_text("raise SystemExit('run')")
        assert main(["zoo", "show", str(workflow.folder / "results/lab/zoo/lab")]) == 0
    finally:
        code.write_text(kept)
    said = capsys.readouterr().out
    for word in ("birds", "plain", "grey", "sealed", "program", "probabilities", "81.5", "not told"):
        assert word in said


def test_without_anything_to_evaluate_on_there_are_learners_the_images_quality_and_a_warning(tmp_path):
    workflow, _ = configured(tmp_path, evaluate=[])
    run = workflow.snakemake("--cores", "2")
    assert run.status == 0, run.output
    assert "No data set to evaluate on: learners of lab are made" in run.output
    assert set(run.jobs) == {"all", "import_zoo", "invert", "meta_learn", "make_quality_tables"}
    quality = (workflow.folder / "results/lab/quality/inversion.md").read_text()
    assert "teacher" in quality and "five" in quality
    assert "imported" in (workflow.folder / "results/lab/quality/zoo.md").read_text()
    assert list(workflow.folder.glob("results/lab/metalearning/lab/*/1shot/seed0/learner.safetensors"))


def test_a_model_that_is_not_what_its_card_says_stops_the_run_in_one_line(tmp_path):
    workflow, card = configured(tmp_path)
    told = yaml.safe_load(card.read_text())
    told["models"][0]["classes"] = told["models"][0]["classes"][:-1]
    card.write_text(yaml.safe_dump(told))
    run = workflow.snakemake("--cores", "2", "--until", "import_zoo")
    assert run.status == 1
    assert "model `birds`: its answers have the shape [4, 5], its 4 `classes` want [4, 4]" in run.output
    assert "Traceback" not in run.output


def test_import_by_hand_says_what_the_workflow_would(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    card = write_lab(tmp_path / "lab")
    assert main(["zoo", "import", str(card), "-o", str(tmp_path / "zoo")]) == 0
    assert ImportedZooManifest.load(tmp_path / "zoo" / "zoo.json").name == "card"
    assert "birds" in capsys.readouterr().out
    card.write_text("models: []")
    assert main(["zoo", "import", str(card)]) == 1
    assert "models" in capsys.readouterr().err
