"""Learners of the features of classifiers from elsewhere: rebuilt to the bit, and only from code that is as it was."""

import copy

import pytest
import torch
from torch import nn

from dfml.artefacts.imported_zoo import ImportedFeatures
from dfml.errors import DataError, DfmlError
from dfml.metalearning.store import load_learner
from dfml.use.learner import load
from dfml.zoo.imported.card import registered_card
from dfml.zoo.imported.features import ImportedEncoder
from dfml.zoo.imported.store import build_features
from support.cells import fit_cell
from support.lab import (
    SIDE,
    pool_of,
    taken,
    write_lab,
)
from support.zoo import CPU


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    taken(write_lab(folder), folder / "zoo")
    return folder


@pytest.mark.parametrize(("method", "options"), [("zoo_features", {}), ("zoo_ensemble", {"models": 3})])
def test_a_learner_of_features_is_rebuilt_and_tells_tasks_apart(lab, tmp_path, method, options):
    fit_cell(tmp_path / "learner", method, options, zoos=[lab / "zoo"], resume=None)
    manifest, (learner,) = load_learner(tmp_path / "learner", steps=1, learning_rate=0.1, device=CPU)
    assert [spec.model for spec in manifest.encoders] == ["birds", "plain", "grey"][: options.get("models", 1)]
    pool = pool_of(lab / "zoo")
    images = torch.rand(20, 3, SIDE, SIDE)
    images[10:] *= 0.5
    labels = torch.arange(20) // 10
    wanted = []
    for spec, chosen in zip(manifest.encoders, pool, strict=False):
        network = ImportedEncoder(copy.deepcopy(chosen.module), spec, _input(spec))
        wanted.append(nn.functional.normalize(network.features(images), dim=1))
    features, _ = learner.features(learner.prepare(images), learner.prepare(images)[:0], "transductive")
    together = torch.cat(wanted, 1)
    torch.testing.assert_close(
        nn.functional.normalize(features), nn.functional.normalize(together), rtol=1e-3, atol=1e-4
    )
    answers = learner.adapt(images[::2], labels[::2], rule="centroid_cosine")
    assert (answers(images[1::2]).argmax(1) == labels[1::2]).float().mean() > 0.9
    assert learner.rules == ("centroid_euclidean", "centroid_cosine")


def _input(spec):
    card = registered_card(spec.card)[1]
    return card.input_of(next(model for model in card.models if model.name == spec.model))


def test_one_query_is_answered_as_among_many(lab, tmp_path):
    fit_cell(tmp_path / "learner", "zoo_ensemble", {"models": 3}, zoos=[lab / "zoo"], resume=None)
    _, (learner,) = load_learner(tmp_path / "learner", steps=1, learning_rate=0.1, device=CPU)
    images = torch.rand(9, 3, SIDE, SIDE)
    answers = learner.adapt(images[:4], torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(answers(images[4:])[2:3], answers(images[6:7]), rtol=1e-4, atol=1e-5)


def test_a_learner_of_features_is_no_classifier_to_take_away(lab, tmp_path):
    fit_cell(tmp_path / "learner", "zoo_features", {}, zoos=[lab / "zoo"], resume=None)
    learner = load(tmp_path / "learner")
    with pytest.raises(DfmlError, match="features of an imported model"):
        learner.adapt(torch.rand(4, 3, SIDE, SIDE), ["a", "a", "b", "b"])


def test_what_a_manifest_names_is_not_run(lab, tmp_path, monkeypatch):
    fit_cell(tmp_path / "learner", "zoo_features", {}, zoos=[lab / "zoo"], resume=None)
    monkeypatch.setattr("dfml.zoo.imported.card._named", set())
    monkeypatch.setattr("dfml.zoo.imported.store.build", lambda *_: pytest.fail("built"))
    for read in (lambda: load(tmp_path / "learner"), lambda: pool_of(lab / "zoo")):
        with pytest.raises(DataError, match=r"the card .*card\.yaml was not named here"):
            read()


def test_features_of_code_that_changed_are_not_built(tmp_path):
    taken(write_lab(tmp_path), tmp_path / "zoo")
    spec = pool_of(tmp_path / "zoo")[0].features
    assert isinstance(spec, ImportedFeatures)
    (tmp_path / "nets.py").write_text("raise SystemExit('run')")
    with pytest.raises(DataError, match="not as it was when `birds` was imported; import the zoo again"):
        build_features(spec)
