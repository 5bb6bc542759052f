"""The numbers that pages give in tables of their own come from committed results."""

from pathlib import Path

import pandas as pd
import pytest

from dfml.evaluation.intervals import student95
from dfml.results.labels import method_label
from dfml.results.summary import told_apart
from support.repository import ROOT

FOLDER = ROOT / "docs" / "results" / "methods"
PLACES = [("single", 1), ("multi_architecture", 1), ("multi_domain", 1), ("single", 5)]
DOMAINS = ["emoji", "glyphs", "icons_colour"]


@pytest.fixture(scope="module")
def results():
    frame = pd.read_csv(FOLDER / "results.csv")
    assert sorted(frame.seed.unique()) == [0, 1, 2]
    return frame[frame.batch_norm == "transductive"].assign(label=frame.method.map(method_label))


def tables(page: Path = FOLDER / "README.md") -> list[list[list[str]]]:
    """The document's tables: rows of cells, a table's rule left out."""
    found: list[list[list[str]]] = [[]]
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[row for row in table if set(row[0]) != {"-"}] for table in found if table]


def seeds(results: pd.DataFrame, label: str, rule: str, place: tuple[str, int]) -> pd.Series:
    """Accuracy of each seed, averaged over the pool's data sets; empty where there is none."""
    pool, shots = place
    chosen = (results.label == label) & (results.rule == rule) & (results.pool == pool) & (results.shots == shots)
    return results[chosen].groupby("seed").accuracy.mean()


def test_differences_to_the_best_single_model(results):
    rule, start = "", []
    (header, *rows), *_ = tables()
    assert header[1:] == ["`single`", "`multi_architecture`", "`multi_domain`", "`single`, 5-shot"]
    for label, *cells in [[header[0], *[""] * 4], *rows]:
        if not any(cells):
            rule = {"cosine": "centroid_cosine", "fine-tuning": "finetune"}[label.split()[0]]
            start = [seeds(results, "Best single", rule, place) for place in PLACES]
        elif label.startswith("*"):
            assert cells == [f"*{own.mean():.1f} ({own.std():.1f})*" for own in start]
        else:
            for cell, best, place in zip(cells, start, PLACES, strict=True):
                gain = seeds(results, label, rule, place) - best
                said = f"{gain.mean():+.1f} ({gain.std():.1f})".replace("-", "−")
                if gain.empty or gain.isna().all():
                    assert cell == "n/a"
                else:
                    bold = told_apart(gain.mean(), student95(gain))
                    assert cell == (f"**{said}**" if bold else said)


def test_accuracies_on_three_domains(results):
    _, (header, *rows), *_ = tables()
    assert header[1:4] == DOMAINS
    chosen = results[(results.pool == "multi_domain") & (results.rule == "centroid_cosine")]
    for label, *cells in rows:
        own = chosen[chosen.label == label]
        mean = own.groupby("seed").accuracy.mean()
        expected = [f"{own[own.dataset == name].accuracy.mean():.1f}" for name in DOMAINS]
        assert cells == [*expected, f"{mean.mean():.1f} ({mean.std():.1f})"]


def test_trials_of_the_heads():
    frame = pd.read_csv(ROOT / "docs" / "results" / "heads_trials" / "results.csv")
    assert set(frame.split) == {"meta_val"}
    frame = frame[frame.batch_norm == "transductive"]
    *_, single, domains = tables(ROOT / "docs" / "methods" / "heads.md")
    for pool, (header, *rows) in (("single", single), ("multi_domain", domains)):
        assert header[2:4] == ["fine-tuning", "cosine"]
        own = frame[frame.pool == pool].groupby(["method", "rule"]).accuracy.mean()
        known = {method for method, _ in own.index if method != "zoo_features"}  # of which `best` has the cosine
        assert {row[0].strip("`") for row in rows} == known
        for name, _, finetune, cosine, _ in rows:
            means = own[name.strip("`")]
            assert float(finetune) == pytest.approx(means["finetune"], abs=0.0501)
            assert float(cosine) == pytest.approx(means["centroid_cosine"], abs=0.0501)
