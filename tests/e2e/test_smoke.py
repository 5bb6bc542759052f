"""The smoke configuration from images to the report, with everything really computed."""

import hashlib
import json
import re

import pandas as pd
import pytest
import torch

from dfml.config.load import load_config
from dfml.data.images import load_images
from dfml.evaluation.episodes import EpisodeSet, episode_accuracies
from dfml.metalearning.store import load_learner
from support.repository import ROOT
from support.workflow import Workflow

pytestmark = pytest.mark.e2e
SMOKE = ("--configfile", "config/smoke.yaml")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Workflow:
    """A finished run of the smoke configuration."""
    workflow = Workflow.copied_to(tmp_path_factory.mktemp("smoke") / "workflow")
    run = workflow.snakemake(*SMOKE, "--cores", "2")
    assert run.status == 0, run.output
    return workflow


def test_every_cell_has_a_number_or_says_why_not(smoke):
    config = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / "smoke.yaml"])
    results = smoke.folder / "results" / "smoke"
    frame = pd.read_csv(results / "results.csv")
    cells = {(c.pool, c.method, c.shots, c.seed) for c in config.cells()}
    assert {tuple(row) for row in frame[["pool", "method", "shots", "seed"]].itertuples(index=False)} == cells
    assert frame["accuracy"].between(0, 100).all()
    assert (frame["ci95"] >= 0).all()
    assert set(frame["batch_norm"]) == {"transductive", "support"}
    # All cells of a pool and a number of shots see the same episodes.
    assert (frame.groupby(["pool", "shots"])["episode_digest"].nunique() == 1).all()

    main = (results / "tables" / "main.md").read_text(encoding="utf-8")
    rows = [line for line in main.splitlines() if re.match(r"\| *(single|multi_architecture)? *\|", line)]
    assert len(rows) >= 2 * len(config.methods) * len(config.shots)
    for row in rows:
        for cell in (part.strip() for part in row.split("|")[4:-1]):
            number = r"(\*\*)?\d+\.\d+ ± \d+\.\d+(\*\*)?( \(\w\))?"
            assert re.fullmatch(rf"{number}|(\d+\.\d+|–) \(\d+\)|–|n/a.*|not run", cell), row


def test_the_artefacts_hold_together(smoke):
    results = smoke.folder / "results" / "smoke"
    for path in results.rglob("zoo.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        weights = (path.parent / "zoo.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() == manifest["weights_sha256"]
    for path in results.rglob("inversion.json"):
        summary = json.loads(path.read_text(encoding="utf-8"))
        assert summary["teacher_passes"] > 0
        assert len(summary["ce_curve"]["last"]) > 1
    arms = json.loads(next(results.rglob("speed.json")).read_text(encoding="utf-8"))["arms"]
    assert {arm["name"] for arm in arms} == {"five", "per_model"}
    assert all(seconds > 0 for arm in arms for seconds in arm["seconds_per_task"])
    assert (results / "report.html").stat().st_size > 1_000_000
    assert not [path for path in results.rglob("*") if path.suffix in {".pt", ".pkl", ".pickle", ".partial"}]


def test_batched_evaluation_gives_the_same_table(smoke):
    """Every learner adapted to all episodes in one batch, as on a GPU, against the recorded numbers."""
    config = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / "smoke.yaml"])
    results, cpu = smoke.folder / "results" / "smoke", torch.device("cpu")
    settings = config.evaluation
    rates = {"steps": settings.adaptation_steps, "learning_rate": settings.adaptation_learning_rate}
    test_images = load_images(results / "images" / "icons_colour" / "meta_test.npz")
    made = config.first_alike(config.cells(), across_shots=True)
    for cell in dict.fromkeys(config.first_alike(config.cells(), across_shots=False).values()):
        place, learned = (f"{c.pool}/{c.method}/{c.shots}shot/seed{c.seed}" for c in (cell, made[cell]))
        record = json.loads((results / "evaluation" / place / "record.json").read_text(encoding="utf-8"))
        episodes = EpisodeSet.draw(
            test_images,
            ways=config.ways,
            shots=cell.shots,
            settings=settings,
            count=settings.episodes,
            device=cpu,
        )
        _, learners = load_learner(results / "metalearning" / learned, **rates, device=cpu)
        batched = episode_accuracies(learners[-1], episodes, batched=True)
        assert len(batched) == len(record["results"])
        # A tie may fall the other way by rounding: at most one answer in two hundred here.
        for row in record["results"]:
            assert abs(batched[row["rule"], row["batch_norm"]].mean() - row["accuracy"]) <= 0.5, place


def test_a_report_can_be_asked_for_by_snakemakes_own_option(smoke):
    run = smoke.snakemake(*SMOKE, "--report", "mine.html")
    assert run.status == 0, run.output
    page = (smoke.folder / "mine.html").read_text(encoding="utf-8")
    for name in ("main.html", "short.html", "difference.html", "recovered.svg", "learning_curves.svg"):
        assert name in page, name


def test_nothing_is_to_be_done_twice(smoke):
    assert smoke.dry_run(*SMOKE).nothing_to_do


def test_variants_are_made_with_settings_of_their_own(smoke, tmp_path):
    again = smoke.duplicate(tmp_path / "workflow")
    slow = {"inversion": {"five": {"steps": 6}}}
    again.configure(
        variants={
            "mixed_heads-slow": slow,
            "free_heads-slow": {**slow, "iterations": 1, "bell": {"mode": "off"}},
            "mixed_heads-wide": {"learner": {"width": 12}},
        }
    )
    run = again.snakemake(*SMOKE, "--cores", "2")
    assert run.status == 0, run.output
    single = again.folder / "results" / "smoke"

    def read(path: str) -> dict:
        return json.loads((single / path).read_text(encoding="utf-8"))

    plain, slower = (read(f"inversion/single/{name}/seed0/inversion.json") for name in ("five", "five-slow"))
    own = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / "smoke.yaml"])
    assert slower["inverter"] == "five-slow"
    assert slower["generator_passes"] * own.inversion.five.steps == plain["generator_passes"] * 6
    place = "metalearning/single/{}/5shot/seed0/learner.json"
    before, varied = (read(place.format(name)) for name in ("free_heads", "free_heads-slow"))
    assert (before["options"]["bell"]["mode"], varied["options"]["bell"]["mode"]) == ("sequential", "off")
    assert varied["options"]["five"]["steps"] == 6
    inputs = " ".join(varied["provenance"]["inputs"])
    assert "mixed_heads-slow" in inputs and "five-slow" in inputs
    assert [read(place.format(f"mixed_heads{word}"))["encoders"][0]["width"] for word in ("", "-wide")] == [8, 12]
    frame = pd.read_csv(single / "results.csv")
    assert {"mixed_heads-slow", "free_heads-slow", "mixed_heads-wide"} <= set(frame["method"])
    assert "Heads on both, wide" in (single / "tables" / "main.md").read_text(encoding="utf-8")


def test_a_cell_run_again_has_the_same_bits(smoke, tmp_path):
    again = smoke.duplicate(tmp_path / "workflow")
    folder = again.folder / "results" / "smoke"
    cell = sorted(folder.glob("metalearning/single/free/*shot/seed0"))[0].relative_to(folder / "metalearning")
    learner, record = (
        folder / "metalearning" / cell / "learner.safetensors",
        folder / "evaluation" / cell / "record.json",
    )
    weights = learner.read_bytes()
    measured = json.loads(record.read_text(encoding="utf-8"))["results"]
    learner.unlink()
    record.unlink()
    target = record.relative_to(again.folder).as_posix()
    run = again.snakemake(*SMOKE, "--cores", "1", "--", target)
    assert run.status == 0, run.output
    assert set(run.jobs) == {"meta_learn", "evaluate"}
    assert learner.read_bytes() == weights
    assert json.loads(record.read_text(encoding="utf-8"))["results"] == measured
