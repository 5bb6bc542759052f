"""The short table of README.md."""

import re

import pandas as pd
import pytest

from dfml.catalogue import METHODS
from dfml.results.collect import collect_records
from dfml.results.readme_table import GROUPS, readme_table
from support.repository import ROOT
from support.results import GRID, write_demo


@pytest.fixture
def results(tmp_path):
    collect_records(write_demo(tmp_path, grid=GRID), tmp_path / "results.csv")
    return tmp_path / "results.csv"


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_what_learns_nothing_comes_first_and_absent_methods_have_no_row(results):
    found = rows(readme_table(results))[2:]
    assert [row[1] for row in found] == ["Random", "Zoo ensemble", "FREE", "FREE + heads", "Supervised MAML"]
    assert [row[0] for row in found][:2] == ["nothing is learned"] * 2


def test_numbers_are_means_over_seeds_of_the_pool_with_most_methods(results):
    frame = pd.read_csv(results)
    frame = frame[(frame["pool"] == "single") & (frame["batch_norm"] == "transductive") & (frame["shots"] == 1)]
    for label, method in (("FREE", "free"), ("Random", "random")):
        (row,) = [row for row in rows(readme_table(results)) if row[1] == label]
        means = frame[frame["method"] == method].groupby("rule")["accuracy"].mean()
        shown = [float(cell.split(" ± ")[0]) for cell in row[2:]]
        assert shown == [round(means["finetune"], 2), round(means["centroid_cosine"], 2)]


def test_every_row_is_of_a_method_of_the_catalogue():
    assert {method for methods in GROUPS.values() for method in methods} <= METHODS.keys()


def test_results_of_other_modes_and_shots_have_a_table_too(tmp_path):
    collect_records(write_demo(tmp_path, grid=GRID, shots=(5,)), tmp_path / "all.csv")
    frame = pd.read_csv(tmp_path / "all.csv")
    frame[frame["batch_norm"] == "support"].to_csv(tmp_path / "results.csv", index=False)
    caption, *_ = readme_table(tmp_path / "results.csv").splitlines()
    assert caption.startswith("*5-way 5-shot accuracy") and "Batch norm: support" in caption


def test_a_rule_that_was_not_evaluated_is_a_dash(results):
    (row,) = [row for row in rows(readme_table(results)) if row[1] == "Zoo ensemble"]
    assert row[2] == "–" and re.fullmatch(r"\d\d\.\d\d ± \d\.\d\d", row[3])


def test_the_readme_shows_what_is_committed():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- table:short:begin -->")[1].split("<!-- table:short:end -->")[0]
    assert block.strip() == readme_table(ROOT / "docs/results/demo/results.csv")


def test_the_readmes_numbers_on_photographs_are_those_of_their_tables():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    heading, _, *found = rows(readme.split("percent by fine-tuning:")[1].split("\nPublished are")[0])
    assert heading[1:] == ["best model", "FREE", "heads", "FREE + heads", "supervised MAML"]
    for label, *shown in found:
        frame = pd.read_csv(ROOT / re.search(r"\((.*)/main\.md\)", label)[1] / "results.csv")
        own = frame[(frame["rule"] == "finetune") & (frame["batch_norm"] == "transductive") & (frame["shots"] == 1)]
        if "one pool" in label:
            own = own[own["pool"] == "multi_domain"]
        assert own["pool"].nunique() == 1
        means = own.groupby(["method", "dataset"])["accuracy"].mean().groupby("method").mean()
        methods = ["best", "free", "mixed_heads", "free_heads", "supervised_maml"]
        assert shown == [f"{means[name]:.1f}" if name in means else "–" for name in methods]


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
