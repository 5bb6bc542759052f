"""The profile of clusters says of every rule what the rules and the default profile say, and asks for enough."""

import json
import re

import pytest
import yaml

from support.repository import ROOT

PROFILES = ROOT / "workflow" / "profiles"
SHARED = ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete", "show-failed-logs")
MEASURED = ("prepare_images", "import_zoo", "train_zoo", "invert", "time_inversion", "meta_learn", "evaluate")
# It does what train_zoo does, for fewer models.
SUBMITTED = (*MEASURED, "train_zoo_part")


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


# What a job's Snakemake holds beside it, and how much more than was measured is asked for.
SNAKEMAKE_MB, MORE_MEMORY, MORE_TIME = 300, 1.5, 4
# Parts of the published sizes that were measured alone, by the beginning of their name.
PARTS = {
    "meta-step": ("meta_learn",),
    "FREE iteration": ("meta_learn",),
    "evaluation": ("evaluate",),
    "inversion": ("invert", "time_inversion"),
    "zoo": ("train_zoo",),
}


def measured(name: str) -> list[dict]:
    """The results of one committed file."""
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))["results"]


def asked_minutes(rule: str) -> int:
    (minutes,) = re.findall(r"runtime=(\d+)", declared()[rule])
    return int(minutes)


def enough_memory(rule: str, peak: float) -> bool:
    asked = int(profile("slurm")["set-resources"][rule]["mem_mb"].removesuffix(" * attempt"))
    return asked >= MORE_MEMORY * (peak + SNAKEMAKE_MB)


def test_every_submitted_rule_was_measured():
    assert {row["rule"] for row in measured("cpu-rules.json")} == set(MEASURED)


@pytest.mark.parametrize("row", measured("cpu-rules.json"), ids=lambda row: f"{row['rule']}-{row['experiment']}")
def test_a_rule_asks_for_more_than_its_jobs_took(row):
    assert enough_memory(row["rule"], row["peak_memory_mb"])
    assert 60 * asked_minutes(row["rule"]) >= MORE_TIME * row["seconds"]


@pytest.mark.parametrize("name", PARTS)
def test_a_rule_asks_for_more_than_its_parts_of_the_published_sizes_took(name):
    peaks = [row["peak_memory_mb"][0] for row in measured("cpu.json") if row["name"].startswith(name)]
    assert peaks and all(enough_memory(rule, peak) for rule in PARTS[name] for peak in peaks)


def test_too_little_would_be_noticed():
    assert not enough_memory("meta_learn", 3000)


def test_nothing_else_is_set():
    assert set(profile("slurm")["set-resources"]) == set(SUBMITTED)
