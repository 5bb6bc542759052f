"""The profile of clusters says of every rule what the rules and the default profile say."""

import re

import pytest
import yaml

from support.repository import ROOT

PROFILES = ROOT / "workflow" / "profiles"
SHARED = ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete", "show-failed-logs")
SUBMITTED = ("prepare_images", "import_zoo", "train_zoo", "invert", "time_inversion", "meta_learn", "evaluate")


def profile(name: str) -> dict:
    """The content of a profile."""
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text(encoding="utf-8"))


def declared() -> dict[str, str]:
    """Text of every rule that is submitted; those that are not declare no resources."""
    rules = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        _, *parts = re.split(r"^rule (\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        rules |= {name: text for name, text in zip(parts[::2], parts[1::2], strict=True) if "mem_mb=" in text}
    return rules


def test_what_both_profiles_must_say_is_the_same():
    default, slurm = profile("default"), profile("slurm")
    assert {key: slurm.get(key) for key in SHARED} == {key: default[key] for key in SHARED}


def test_the_rules_that_are_submitted_are_known():
    assert sorted(declared()) == sorted(SUBMITTED)


@pytest.mark.parametrize("rule", SUBMITTED)
def test_every_submitted_rule_asks_for_what_it_declares_and_for_more_memory_each_time(rule):
    text, asked = declared()[rule], profile("slurm")["set-resources"][rule]
    (memory,) = re.findall(r"mem_mb=(\d+)", text)
    assert asked["mem_mb"] == f"{memory} * attempt"
    assert asked.get("gpu") == (1 if "gpu=GPU" in text else None)


def test_nothing_else_is_set():
    assert set(profile("slurm")["set-resources"]) == set(SUBMITTED)
