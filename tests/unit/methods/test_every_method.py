"""Every method, with the settings of the smoke configuration, on a pool that unites two image sides (F18, F19)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfml.artefacts.base import Cell
from dfml.artefacts.learner import WEIGHTS, LearnerManifest
from dfml.catalogue import METHODS
from dfml.config.load import load_config
from dfml.data.images import SPLITS, save_images
from dfml.evaluation.stage import evaluate
from dfml.inversion.stage import invert
from dfml.jobs.settings import RuntimeSettings
from support.cells import LEARNER, fit_cell
from support.repository import ROOT
from support.zoo import QuietJob, pattern_images, train_tiny_zoo

pytestmark = pytest.mark.slow
SIDES = {"small": 28, "large": 32, "foreign": 24}
SMOKE = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / "smoke.yaml"])
INVERSION = SMOKE.inversion.model_copy(update={"latent": 8, "width": 4})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Images and zoos of two data sets of different sides, images of a third one."""
    root = tmp_path_factory.mktemp("world")
    for seed, (name, side) in enumerate(SIDES.items()):
        images = {s: replace(pattern_images(split=s, side=side, per_class=12, seed=seed), dataset=name) for s in SPLITS}
        save_images(root / "images" / name, images, source="folder")
        if name != "foreign":
            train_tiny_zoo(
                root / "images" / name / "meta_train.npz",
                root / "zoo" / name,
                seed=seed,
                models=3,
                epochs=1,
                dataset=name,
            )
    return root


@pytest.fixture(scope="module")
def bank(world):
    """Makes the bank of an inverter, once."""

    def made(inverter: str) -> Path:
        folder = world / "inversion" / inverter
        if not folder.exists():
            invert(
                zoos(world),
                folder,
                pool="both",
                inverter=inverter,
                name=inverter,
                settings=INVERSION,
                label_space="global",
                seed=0,
                code="code",
                resume=world / f"{inverter}.resume",
                job=QuietJob(runtime=RuntimeSettings(checkpoint_every=2)),
            )
        return folder

    return made


def zoos(world: Path) -> list[Path]:
    return [world / "zoo" / "small", world / "zoo" / "large"]


def real(world: Path) -> list[Path]:
    return [world / "images" / "small", world / "images" / "large"]


@pytest.fixture
def fitted(world, bank, tmp_path):
    """Fits a method on both data sets; returns the folder of its learner."""

    def fit(method: str, *, shots: int = 1, side: int | None = None) -> Path:
        known, options = METHODS[method], SMOKE.options(method)
        given = [world / "images" / "foreign"] if known.other_domain else real(world)
        return fit_cell(
            tmp_path / f"learner_{shots}",
            method,
            options,
            cell=Cell("both", method, shots, 0),
            zoos=zoos(world) if known.needs_zoo else [],
            inversion=bank(known.inverter or "five") if known.needs_inversion(options) else None,
            images=given if known.reads_real_images else [],
            inversion_settings=INVERSION,
            learner=LEARNER.model_copy(update={"side": side}),
        )

    return fit


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if not row.shots_matter])
def test_a_learner_that_all_shots_share_does_not_depend_on_them(fitted, method):
    one, five = (load_file(fitted(method, shots=shots) / WEIGHTS) for shots in (1, 5))
    assert one.keys() == five.keys()
    assert all(torch.equal(tensor, five[name]) for name, tensor in one.items())


@pytest.mark.parametrize("side", [None, SIDES["small"], SIDES["large"]])
@pytest.mark.parametrize("method", METHODS)
def test_learns_from_and_is_measured_on_both_sides(world, fitted, tmp_path, method, side):
    record, folder = tmp_path / "record.json", fitted(method, side=side)
    # Frozen features of zoo models keep the sides of those.
    if not method.startswith("zoo_"):
        assert [spec.side for spec in LearnerManifest.load(folder / "learner.json").encoders] == [side]
    evaluate(
        folder,
        real(world),
        record,
        cell=Cell("both", method, 1, 0),
        experiment="mixed",
        ways=3,
        settings=SMOKE.evaluation.model_copy(update={"episodes": 4, "validation_episodes": 2}),
        config_digest="0" * 64,
        job=QuietJob(),
    )
    results = json.loads(record.read_text())["results"]
    assert {row["dataset"] for row in results} == {"small", "large"}
    assert all(0 <= row["accuracy"] <= 100 for row in results)
