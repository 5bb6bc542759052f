"""Reading a learner: from where, for which images, with what it was evaluated; and what is none."""

from pathlib import Path

import pytest
import torch

import dfml
from dfml.errors import DfmlError, FileFormatError
from dfml.evaluation.settings import EvaluationSettings
from support import manifests
from support.manifests import write
from support.use import SPEC, shelf_learner

SEVERAL = {name: {"mean": [0.5] * 3, "std": [0.1 * (place + 1)] * 3} for place, name in enumerate(("ink", "oil"))}


def test_a_learner_below_the_home_directory(tmp_path, monkeypatch):
    shelf_learner(tmp_path / "learner")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dfml.load("~/learner").iteration == 5


def test_networks_come_by_their_names():
    with pytest.raises(DfmlError, match=r"as names with their files, .* not as a list"):
        dfml.register_networks(["mine.py"])


def test_of_several_domains_one_is_asked_for(tmp_path, task):
    folder = shelf_learner(tmp_path / "learner", domains=SEVERAL)
    with pytest.raises(DfmlError, match=r"images of ink, oil .*domain='ink', or --domain ink\), or 'other'"):
        dfml.load(folder)
    with pytest.raises(DfmlError, match="knows no images of 'toy'; choose among ink, oil, other"):
        dfml.load(folder, domain="toy")
    ink, oil, other = (dfml.load(folder, domain=domain) for domain in ("ink", "oil", "other"))
    assert [round(own.learner.std[0].item(), 2) for own in (ink, oil, other)] == [0.1, 0.2, 0.25]
    assert not torch.equal(*(own.adapt(*task[:2]).probabilities(task[2]) for own in (ink, oil)))


def test_the_one_domain_needs_no_name(learner):
    assert learner.learner.mean.tolist() == pytest.approx([0.5, 0.4, 0.6])


def test_a_learner_of_any_side_asks_for_one(tmp_path, task):
    folder = shelf_learner(tmp_path / "learner", SPEC | {"side": None})
    with pytest.raises(DfmlError, match=r"takes images of any side.*side=32, or --side 32"):
        dfml.load(folder)
    with pytest.raises(DfmlError, match="side 8 is no whole number of pixels between 16 and 1024"):
        dfml.load(folder, side=8)
    own = dfml.load(folder, side=24)
    assert own.adapt(*task[:2])(task[2][0]).name in range(5)


def test_another_side_than_the_networks_is_refused(tmp_path):
    folder = shelf_learner(tmp_path / "learner")
    with pytest.raises(DfmlError, match="sees images of 16 pixels, not 32; leave the side out"):
        dfml.load(folder, side=32)
    assert dfml.load(folder, side=16).side == 16


def test_beside_its_record_it_adapts_as_it_was_evaluated(tmp_path):
    cell = "single/free/1shot/seed0"
    folder = shelf_learner(tmp_path / "metalearning" / cell)
    assert dfml.load(folder).settings == EvaluationSettings()
    assert dfml.load(folder).iteration == 5
    told = EvaluationSettings(adaptation_steps=3, episodes=40)
    provenance = manifests.provenance(settings={"settings": told.model_dump()})
    write(tmp_path / "evaluation" / cell, "record.json", manifests.record(iterate=0, provenance=provenance))
    own = dfml.load(folder)
    assert (own.settings, own.learner.steps, own.iteration) == (told, 3, 0)
    provenance["settings"]["settings"]["episodes"] = -1
    write(tmp_path / "evaluation" / cell, "record.json", manifests.record(provenance=provenance))
    with pytest.raises(FileFormatError, match=r"record\.json: episodes: Input should be greater"):
        dfml.load(folder)


def test_a_learner_may_lie_anywhere_and_its_record_is_found_through_links(tmp_path, monkeypatch):
    folder = shelf_learner(tmp_path / "learner")
    monkeypatch.setattr(Path, "resolve", lambda self: Path("/pets"))  # a folder right below the root
    assert dfml.load(folder).iteration == 5


def test_what_is_no_learner_is_told(tmp_path):
    with pytest.raises(FileFormatError, match=r"has no learner.json: give the folder of a learner"):
        dfml.load(tmp_path)
    (tmp_path / "pets.safetensors").touch()
    with pytest.raises(FileFormatError, match="an adapted classifier is read by load_classifier"):
        dfml.load(tmp_path / "pets.safetensors")
    with pytest.raises(DfmlError, match="a path is wanted, not NoneType"):
        dfml.load(None)
    folder = shelf_learner(tmp_path / "learner", domains={}, std=[0.0, 0.1, 0.1])
    with pytest.raises(FileFormatError, match="a deviation is not above zero"):
        dfml.load(folder)
