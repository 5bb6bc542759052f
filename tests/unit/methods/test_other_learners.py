"""Every method with a learner that is no Conv4: it gives one that can be used, or it is n/a before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import dfml
from dfml.artefacts.base import Cell
from dfml.catalogue import METHODS
from dfml.config.load import load_config, validate_config
from dfml.data.images import SPLITS, save_images
from dfml.evaluation.stage import evaluate
from dfml.inversion.stage import invert
from dfml.networks.settings import LearnerSettings
from support.cells import fit_cell
from support.own_network import FAMILY, own_network
from support.repository import ROOT
from support.zoo import SIDE, WAYS, WIDTH, QuietJob, pattern_images, write_random_zoo

pytestmark = pytest.mark.slow
SMOKE = load_config([ROOT / "config" / "config.yaml", ROOT / "config" / "smoke.yaml"])
INVERSION = SMOKE.inversion.model_copy(update={"latent": 8, "width": 4})
POOLS = ("others", "alike")
"""Models that are Conv4, and models of the learner's own network."""


class World:
    """Images and zoos, and banks that are made once."""

    def __init__(self, root: Path, family: str) -> None:
        self.root, self.family = root, family
        file = own_network(root)
        for name in ("toy", "foreign"):
            images = {s: replace(pattern_images(split=s, per_class=12), dataset=name) for s in SPLITS}
            save_images(root / name, images, source="folder")
        for pool, zoo in zip(POOLS, ("conv4", family), strict=True):
            write_random_zoo(root / pool, family=zoo, architecture=zoo, models=3)
        self.config = validate_config(
            {
                "custom_networks": {FAMILY: str(file)},
                "networks": {"others": {"width": WIDTH}, "alike": {"family": family, "width": WIDTH}},
                "learner": {"family": family, "width": WIDTH},
                "pools": {pool: {"networks": [pool]} for pool in POOLS},
                "methods": list(METHODS),
                "datasets": {"icons_colour": {}, "emoji": {}},
            }
        )

    def bank(self, pool: str, inverter: str) -> Path:
        """Recovered images of a pool."""
        folder = self.root / f"{pool}_{inverter}"
        if not folder.exists():
            invert(
                [self.root / pool],
                folder,
                pool=pool,
                inverter=inverter,
                name=inverter,
                settings=INVERSION,
                label_space="global",
                seed=0,
                code="code",
                resume=folder.with_suffix(".resume"),
                job=QuietJob(),
            )
        return folder

    def fitted(self, pool: str, method: str, folder: Path) -> Path:
        """The folder of the learner that a method makes on a pool."""
        known, options = METHODS[method], SMOKE.options(method)
        images = [self.root / ("foreign" if known.other_domain else "toy")] if known.reads_real_images else []
        return fit_cell(
            folder,
            method,
            options,
            cell=Cell(pool, method, 1, 0),
            learner=LearnerSettings(family=self.family, width=WIDTH),
            zoos=[self.root / pool] if known.needs_zoo else [],
            inversion=self.bank(pool, known.inverter or "five") if known.needs_inversion(options) else None,
            images=images,
            inversion_settings=INVERSION,
        )


@pytest.fixture(scope="module", params=["resnet10", FAMILY])
def world(request, tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("method", METHODS)
def test_gives_a_learner_that_can_be_used_or_is_not_applicable(world, tmp_path, method):
    applicable = [pool for pool in POOLS if world.config.inapplicable(pool, method) is None]
    if not applicable:
        assert (world.family, method) == (FAMILY, "ota")
        return
    pool = applicable[0]
    assert pool == "others" or method in ("average", "ota", "dro", "best")
    folder = world.fitted(pool, method, tmp_path / "learner")
    evaluate(
        folder,
        [world.root / "toy"],
        tmp_path / "record.json",
        cell=Cell(pool, method, 1, 0),
        experiment="other",
        ways=WAYS,
        settings=SMOKE.evaluation.model_copy(update={"episodes": 4, "validation_episodes": 2}),
        config_digest="0" * 64,
        job=QuietJob(),
    )
    learner = dfml.load(folder)
    assert {spec.family for spec in learner.manifest.encoders} <= {world.family, "conv4"}
    photos = torch.cat(pattern_images(classes=4, per_class=3, split="meta_test").images)
    for rule in learner.rules:  # of four classes, which it was not made for
        classify = learner.adapt(photos, [f"class {index // 3}" for index in range(12)], rule=rule)
        classify.save(tmp_path / "classifier.safetensors")
        again = dfml.load_classifier(tmp_path / "classifier.safetensors")
        answers = classify.probabilities(photos)
        assert answers.shape == (12, 4) and answers.isfinite().all()
        torch.testing.assert_close(again.probabilities(photos), answers)
        torch.testing.assert_close(classify.probabilities(photos[:1]), answers[:1], atol=1e-5, rtol=1e-4)
    assert learner.manifest.encoders[0].side == SIDE
    if method == "random":  # the program needs no file of anybody's own
        program = classify.export(tmp_path / "classifier.pt2").module()
        torch.testing.assert_close(program(photos.float() / 255), answers, atol=1e-5, rtol=1e-4)
