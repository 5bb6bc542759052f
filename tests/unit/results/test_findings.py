"""The numbers that pages give in tables of their own come from committed results."""

from pathlib import Path

import pandas as pd
import pytest

from support.repository import ROOT


def tables(page: Path) -> list[list[list[str]]]:
    """The document's tables: rows of cells, a table's rule left out."""
    found: list[list[list[str]]] = [[]]
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[row for row in table if set(row[0]) != {"-"}] for table in found if table]


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
