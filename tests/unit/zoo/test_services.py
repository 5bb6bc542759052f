"""A service among modules: it is asked as all others are, and nothing is recovered from it."""

from dataclasses import replace

import pytest
import torch

from dfml.artefacts.inversion import BANK
from dfml.compute.seeds import numpy_rng
from dfml.inversion.bank import ImageBank
from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings
from dfml.inversion.timing import time_inversion
from dfml.metalearning.store import load_learner
from dfml.methods.heads.questions import ask
from dfml.zoo.access import AccessError, LogitsOnly
from support import lab
from support.cells import fit_cell, free_options
from support.inversion import inversion_settings
from support.recoveries import record, run
from support.zoo import CPU, QuietJob

SERVICE = 4


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    lab.taken(lab.write_lab(folder, service=True), folder / "zoo")
    return folder / "zoo"


@pytest.fixture(scope="module")
def inversions(zoo, tmp_path_factory):
    return {name: run([zoo], tmp_path_factory.mktemp(name), inverter=name) for name in ("five", "gen_bn")}


each_inversion = pytest.mark.parametrize("inverter", ["five", "gen_bn"])


@pytest.mark.parametrize("access", ["weights", "gradients", "logits"])
def test_it_gives_answers_whatever_the_others_give(zoo, access):
    pool = lab.pool_of(zoo, access=access)
    assert [model.answers_only for model in pool] == [False] * SERVICE + [True]
    assert isinstance(pool[SERVICE].network, LogitsOnly)
    with pytest.raises(AccessError):
        pool[SERVICE].logits(torch.rand(2, 3, 32, 32, requires_grad=True))
    assert isinstance(pool[0].network, LogitsOnly) == (access == "logits")


@pytest.mark.parametrize("sample", ["without", "with_replacement"])
def test_it_is_never_drawn_to_be_inverted(zoo, sample):
    pool = lab.pool_of(zoo)
    sampler = ModelSampler(pool, FiveSettings(sample=sample, models_per_iteration=4), 0)
    drawn = [{model.index for model in sampler.draw(iteration)} for iteration in range(20)]
    assert set.union(*drawn) == {0, 1, 2, 3}
    assert sample == "with_replacement" or all(len(own) == 4 for own in drawn)
    assert sorted(pool.walk(numpy_rng(0))) == [0, 1, 2, 3]


def test_it_is_ranked_as_the_others_are(zoo):
    pool = lab.pool_of(zoo)
    pool.models[SERVICE] = replace(pool[SERVICE], selection_accuracy=99.0)
    assert [model.index for model in pool.best(2)] == [SERVICE, 0]


@each_inversion
def test_images_come_from_the_others_and_it_judges_them(inversions, inverter):
    bank = ImageBank.load(inversions[inverter] / BANK, CPU)
    assert SERVICE not in bank.everything()[2].tolist()
    assert len(set(bank.everything()[2].tolist())) == 4
    assert record(inversions[inverter])["cross_model_accuracy"] is not None


@each_inversion
def test_heads_are_taught_by_it_too(inversions, inverter, zoo, tmp_path):
    options = {"questions": 30, "steps": 3, "statistics": "batch"}
    fit_cell(tmp_path / "heads", "mixed_heads", options, zoos=[zoo], inversion=inversions[inverter])
    load_learner(tmp_path / "heads", steps=1, learning_rate=0.1, device=CPU)


def test_its_answers_do_not_depend_on_the_statistics(zoo):
    images = (torch.rand(6, 3, 34, 34) * 255).byte()
    models = lab.pool_of(zoo).models
    stored, batch = (ask(models, images, statistics=statistics) for statistics in ("stored", "batch"))
    assert torch.equal(stored[SERVICE], batch[SERVICE])
    assert not torch.equal(stored[0], batch[0])


@pytest.mark.parametrize("generator", ["fresh", "inversion"])
def test_free_learns_from_the_others(inversions, zoo, tmp_path, generator):
    options = free_options(iterations=2, generator=generator)
    inputs = {"zoos": [zoo], "inversion": inversions["five"], "inversion_settings": inversion_settings()}
    fit_cell(tmp_path / "free", "free", options, **inputs)
    load_learner(tmp_path / "free", steps=1, learning_rate=0.1, device=CPU)


def test_inversion_is_timed_on_the_others(inversions, zoo, tmp_path):
    settings = inversion_settings(speed={"models": 5, "steps": (2,)})
    time_inversion(
        [zoo], inversions["five"], tmp_path / "speed.json", pool="lab", settings=settings, seed=0, job=QuietJob()
    )
    assert (tmp_path / "speed.json").is_file()
