"""The `meta_learn` stage: what it puts on the shelf."""

import csv

import pytest
import torch

from dfml.artefacts.inversion import RECORD
from dfml.artefacts.learner import MANIFEST, LearnerManifest
from dfml.errors import FileFormatError
from dfml.metalearning.store import load_learner
from support import manifests
from support.cells import fit_cell, free_options, supervised_options, write_inversion
from support.learners import SPEC
from support.zoo import CPU, MEAN

FILES = {"learner.safetensors", "learner.json", "history.csv"}


def history_of(folder):
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def test_free_writes_learner_manifest_and_history(zoo, tmp_path):
    options = free_options()
    folder = fit_cell(tmp_path / "learner", "free", options, zoos=[zoo])
    assert {path.name for path in folder.iterdir()} == FILES
    manifest = LearnerManifest.load(folder / MANIFEST)
    assert (manifest.pool, manifest.method, manifest.ways, manifest.shots, manifest.seed) == ("single", "free", 3, 1, 0)
    assert [snapshot.iteration for snapshot in manifest.snapshots] == [0, 2, 3]
    assert manifest.options == options
    assert manifest.encoders == [SPEC] and manifest.finetune
    assert manifest.train_seconds == pytest.approx(sum(manifest.stages.values()))
    assert manifest.mean == torch.tensor(MEAN).tolist()
    rows = history_of(folder)
    assert [row["iteration"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["replay_loss"] == "" and float(rows[1]["replay_loss"]) > 0  # the warm-up does not replay
    assert len(load_learner(folder, steps=1, learning_rate=0.1, device=CPU)[1]) == 3


def test_a_method_that_learns_nothing_has_an_empty_history(zoo, tmp_path):
    folder = fit_cell(tmp_path / "learner", "zoo_ensemble", {"models": 2}, zoos=[zoo])
    assert (folder / "history.csv").read_text() == "iteration,seconds\n"
    assert len(LearnerManifest.load(folder / MANIFEST).encoders) == 2


def test_supervised_maml_normalises_by_its_images_and_needs_no_zoo(images, tmp_path):
    folder = fit_cell(tmp_path / "learner", "supervised_maml", supervised_options(), images=[images])
    manifest = LearnerManifest.load(folder / MANIFEST)
    assert [snapshot.iteration for snapshot in manifest.snapshots] == [2, 4]
    assert manifest.stages.keys() == {"training"} and manifest.teacher_passes == 0
    assert manifest.train_episodes == 4 * 2
    assert len(history_of(folder)) == 4
    (_, (first, last)) = load_learner(folder, steps=1, learning_rate=0.1, device=CPU)
    assert not torch.equal(first.encoders[0].head.weight, last.encoders[0].head.weight)


def test_a_damaged_zoo_is_named_and_nothing_is_written(zoo, tmp_path):
    broken = tmp_path / "zoo"
    broken.mkdir()
    for path in zoo.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[:-1])
    (broken / "zoo.json").write_bytes((zoo / "zoo.json").read_bytes())
    with pytest.raises(FileFormatError, match=r"zoo\.safetensors: its digest differs"):
        fit_cell(tmp_path / "learner", "free", free_options(), zoos=[broken])
    assert not (tmp_path / "learner").exists()


def test_recovered_images_whose_cost_is_not_told_are_named(zoo, pool, tmp_path):
    inversion = write_inversion(tmp_path / "inversion", pool)
    manifests.write(inversion, RECORD, manifests.inversion(seconds="1"))
    options = free_options(generator="inversion")
    with pytest.raises(FileFormatError, match=r"inversion\.json: seconds: .*run the rule invert again"):
        fit_cell(tmp_path / "learner", "free", options, zoos=[zoo], inversion=inversion)
