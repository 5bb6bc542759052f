"""A service among modules: it is asked as all others are, nothing is recovered from it, and it may fail."""

from dataclasses import replace

import pytest
import torch

from dfml.artefacts.inversion import BANK
from dfml.artefacts.learner import WEIGHTS
from dfml.compute.seeds import numpy_rng
from dfml.errors import DataError
from dfml.inversion.bank import ImageBank
from dfml.inversion.sampling import ModelSampler
from dfml.inversion.settings import FiveSettings
from dfml.inversion.timing import time_inversion
from dfml.metalearning.store import load_learner
from dfml.methods.heads.questions import ask
from dfml.zoo.access import AccessError, LogitsOnly
from support import lab
from support.cells import InterruptedJobError, InterruptedProgress, fit_cell, free_options
from support.inversion import inversion_settings
from support.recoveries import record, run
from support.zoo import CPU, QuietJob

SERVICE = 4


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    lab.taken(lab.write_lab(folder, service={}), folder / "zoo")
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


QUESTIONS, CALLS = 600, 3
# At the import a model is asked about a batch twice, and about one image.
AT_FIRST = 3


class Patient:
    """A lab with a service that notes its calls, and heads that ask it in several."""

    def __init__(self, folder, **facts):
        self.folder, self.asked = folder, folder / "asked"
        folder.mkdir()
        self.asked.touch()
        options = {"asked": str(self.asked)} | facts
        lab.taken(lab.write_lab(folder, service={"options": options}), folder / "zoo")

    @property
    def calls(self):
        """How many images each call was about, but for those of the import."""
        return [int(size) for size in self.asked.read_text().split()][AT_FIRST:]

    def learn(self, *, progress=None, **changes):
        """Fit the heads; returns their weights."""
        options = {"questions": QUESTIONS, "steps": 3, "batch_size": 8} | changes
        zoos = [self.folder / "zoo"]
        fit_cell(self.folder / "heads", "procedural_heads", options, zoos=zoos, progress=progress)
        return (self.folder / "heads" / WEIGHTS).read_bytes()

    def left(self):
        """Resume files that are still there."""
        return sorted(path.name for path in self.folder.glob("*.resume"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return Patient(tmp_path_factory.mktemp("undisturbed") / "lab").learn()


def test_every_question_is_asked_once_and_nothing_is_left(tmp_path, undisturbed):
    patient = Patient(tmp_path / "lab")
    assert patient.learn() == undisturbed
    assert (len(patient.calls), sum(patient.calls), patient.left()) == (CALLS, QUESTIONS, [])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", r"fails on a batch of 200 images of side 32 \(TimeoutError: no answer in 30 s\)"),
        ("text", "answers with a str"),
        ("short", r"answers have the shape \[199, 5\], its 5 `classes` want \[200, 5\]"),
        ("nan", "answers are not finite"),
    ],
)
@pytest.mark.parametrize("call", [1, 3])
def test_a_failure_is_told_and_what_was_answered_is_not_asked_again(tmp_path, undisturbed, how, message, call):
    patient = Patient(tmp_path / "lab", fails=AT_FIRST + call, how=how)
    with pytest.raises(DataError, match=f"model `service`: .*{message}; .* are kept: run the same again"):
        patient.learn()
    assert len(patient.calls) == call
    assert patient.learn() == undisturbed
    assert len(patient.calls) == CALLS + 1
    assert patient.left() == []


def test_whoever_is_killed_asks_for_the_rest_alone(tmp_path, undisturbed):
    patient = Patient(tmp_path / "lab")
    with pytest.raises(InterruptedJobError):
        patient.learn(progress=InterruptedProgress(2))
    assert (len(patient.calls), patient.left()) == (3, [f"heads.asked{SERVICE}.resume"])
    with pytest.raises(InterruptedJobError):
        patient.learn(progress=InterruptedProgress(2))
    assert patient.learn() == undisturbed
    assert len(patient.calls) == CALLS + 1


def test_so_they_are_where_each_question_goes_to_some_models(tmp_path):
    patient = Patient(tmp_path / "lab")
    with pytest.raises(InterruptedJobError):
        patient.learn(models_per_question=2, progress=InterruptedProgress(1))
    patient.learn(models_per_question=2)
    # Of five models two answer each question, all of them about as many: so the share of one goes into one call.
    (share,) = patient.calls
    assert abs(share - QUESTIONS * 2 / 5) < 10


def test_classes_that_a_service_alone_knows_have_no_images(tmp_path):
    folder = tmp_path / "lab"
    lab.taken(lab.write_lab(folder, service={"classes": [f"secret {i}" for i in range(5)]}), folder / "zoo")
    inversion = run([folder / "zoo"], tmp_path / "inversion", inverter="five")
    pool = lab.pool_of(folder / "zoo")
    own = set(pool[SERVICE].class_ids)
    known = set(ImageBank.load(inversion / BANK, CPU).everything()[1].tolist())
    assert own == {label for label, name in enumerate(pool.class_names) if "secret" in name}
    assert known == set(range(len(pool.class_names))) - own
    inputs = {"zoos": [folder / "zoo"], "inversion": inversion, "inversion_settings": inversion_settings()}
    for method, options in {
        "free": free_options(iterations=2, generator="inversion"),
        "mixed_heads": {"questions": 30, "steps": 3},
    }.items():
        fit_cell(tmp_path / method, method, options, **inputs)
        load_learner(tmp_path / method, steps=1, learning_rate=0.1, device=CPU)
