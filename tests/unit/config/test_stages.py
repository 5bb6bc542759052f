"""The stages of dvc.yaml list the keys that their jobs depend on, as far as the default configuration gives them."""

import pytest
import yaml

from dfml.catalogue import METHODS, MethodEntry
from dfml.config.reference import main, stale
from dfml.config.root import Config
from dfml.config.stages import DEFAULT, DVC, stage_keys, with_stage_keys
from support.repository import ROOT

TEXT = """\
# kept
stages:
  zoo:
    cmd: a
    params:
      - config/config.yaml: [old]
    deps: [b] # kept
  inversion:
    params:
      - config/config.yaml:
          [old,
          older]
    outs: []
  metalearning:
    params:
      - config/config.yaml: []
  results:
    deps: [config/config.yaml]
"""


def listed(text):
    """Keys of every stage that has a list."""
    stages = yaml.safe_load(text)["stages"]
    return {
        name: keys["config/config.yaml"]
        for name, stage in stages.items()
        if "params" in stage
        for keys in stage["params"]
    }


def test_every_key_is_of_a_stage():
    """One of the last stages, which depend on the whole file; runtime changes no result."""
    keys = set().union(*stage_keys().values())
    assert set(Config.model_fields) - keys == {"evaluation", "runtime"}
    assert keys <= set(Config.model_fields)


def test_every_method_counts_for_the_learners_and_few_for_what_is_before_them():
    keys = stage_keys()
    assert keys["metalearning"] >= {"free", "free_heads", "supervised_maml", "dro"}
    assert keys["zoo"] >= {"unlabelled_heads", "best", "tgr", "bidf_mkd"}
    assert not keys["zoo"] & {"free", "free_heads", "supervised_maml", "average"}
    assert keys["inversion"] - keys["zoo"] == {"label_space", "inversion", "free", "free_official", "free_heads"}


def test_a_new_method_needs_no_edit(monkeypatch):
    new = MethodEntry(label="New", fit="", settings="dfml.methods.free.settings:FreeSettings")
    monkeypatch.setitem(METHODS, "newest", new)
    assert "newest" in stage_keys()["metalearning"]


def test_only_given_keys_are_listed_in_the_order_of_the_configuration():
    text = with_stage_keys(TEXT, ["zoo", "ways", "seeds", "free", "evaluation"])
    assert listed(text) == {
        "zoo": ["seeds", "ways", "zoo"],
        "inversion": ["seeds", "free"],
        "metalearning": ["seeds", "ways", "free"],
    }
    assert text.count("kept") == 2
    assert "old" not in text
    assert with_stage_keys(text, ["zoo", "ways", "seeds", "free", "evaluation"]) == text
    long = with_stage_keys(TEXT, Config.model_fields)
    assert set(listed(long)["metalearning"]) == stage_keys()["metalearning"]
    assert max(map(len, long.splitlines())) <= 120


def test_a_stage_without_a_list_is_refused():
    with pytest.raises(ValueError, match="no stage `zoo`"):
        with_stage_keys(TEXT.replace("  zoo:", "  zoos:"), ["seeds"])
    with pytest.raises(ValueError, match="no stage `metalearning`"):
        with_stage_keys(TEXT.replace("metalearning:\n    params:", "metalearning:\n    deps:"), ["seeds"])


def test_the_command_mends_a_list_that_does_not_fit_the_configuration(tmp_path):
    (tmp_path / DEFAULT).parent.mkdir()
    (tmp_path / DEFAULT).write_text("seeds: [0]\nzoo: {models: 3}\n", encoding="utf-8")
    (tmp_path / DVC).write_text(TEXT, encoding="utf-8")
    assert DVC in stale(tmp_path)
    assert main(["--root", str(tmp_path)]) == 0
    assert stale(tmp_path) == []
    (tmp_path / DEFAULT).write_text("seeds: [0]\n", encoding="utf-8")
    assert main(["--root", str(tmp_path), "--check"]) == 1


def test_the_committed_lists_are_those_of_the_committed_configuration():
    given = yaml.safe_load((ROOT / DEFAULT).read_text(encoding="utf-8"))
    found = listed((ROOT / DVC).read_text(encoding="utf-8"))
    assert {stage: set(keys) for stage, keys in found.items()} == {
        stage: keys & given.keys() for stage, keys in stage_keys().items()
    }
