"""Copies of tables and figures for git."""

import io
import json
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from dfml.artefacts.accuracies import ACCURACIES
from dfml.cli.main import main
from dfml.cli.publish import RECORDS, packed_records, publish
from dfml.errors import DfmlError
from dfml.results.collect import collect, read_results_csv, write_results_csv
from support.repository import ROOT
from support.results import write_record

FILES = ("tables/main.md", "tables/main.csv", "figures/main.png", "figures/main.svg", "results.csv", "metrics.json")
PICTURES = ("figures/recovered.png", "inversion/single/five/seed0/grid.png")


def listed(shelf, *paths):
    """Write a table of results that has the records at ``paths``."""
    lines = ["method,record", *(f"free,{path.relative_to(shelf).as_posix()}" for path in paths)]
    (shelf / "results.csv").write_text("\n".join(lines))


@pytest.fixture
def shelf(tmp_path):
    for name in (*FILES, *PICTURES):
        path = tmp_path / "results/demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    listed(tmp_path / "results/demo")
    return tmp_path / "results/demo"


def with_the_demos_results(shelf):
    """Give the shelf the committed results of the default experiment."""
    (shelf / "results.csv").write_bytes((ROOT / "docs/results/demo/results.csv").read_bytes())
    with zipfile.ZipFile(ROOT / "docs/results/demo" / RECORDS) as archive:
        archive.extractall(shelf)


def test_tables_figures_and_numbers_are_copied_and_leftovers_removed(shelf, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("README.md", "gone.md"):
        (folder / name).write_text("kept")
    publish(shelf, folder)
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name != RECORDS} == {
        "README.md": "kept",
        "main.md": "tables/main.md",
        "main.png": "figures/main.png",
        "recovered.png": "figures/recovered.png",
        "results.csv": "method,record",
        "metrics.json": "metrics.json",
    }


def test_records_are_packed_with_their_accuracies_to_the_same_bytes_whenever_they_were_written(shelf):
    paths = [write_record(shelf, seed=seed) for seed in (1, 0)]
    paths[0].with_name("other").touch()
    listed(shelf, *paths)
    write_record(shelf, seed=2)  # of a seed that was asked for once
    packed = packed_records(shelf)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    kept = [path.relative_to(shelf).as_posix() for path in reversed(paths)]
    assert list(contents) == [
        f"{name.removesuffix('record.json')}{end}" for name in kept for end in (ACCURACIES, "record.json")
    ]
    for path, name in zip(reversed(paths), kept, strict=True):
        assert contents[name.replace("record.json", ACCURACIES)] == path.with_name(ACCURACIES).read_bytes()
        told, own = json.loads(contents[name]), json.loads(path.read_text())
        assert own["provenance"]["host"] and (told["provenance"]["host"], told["provenance"]["command"]) == ("", None)
        for key in ("host", "command"):
            told["provenance"].pop(key), own["provenance"].pop(key, None)
        assert {key: told[key] for key in own if key != "provenance"} == {
            key: own[key] for key in own if key != "provenance"
        }
    for path in shelf.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    assert packed_records(shelf) == packed


def test_a_table_without_records_or_with_one_that_is_gone_is_refused(shelf, tmp_path):
    write_record(shelf, seed=0).unlink()
    listed(shelf, shelf / "evaluation/single/free/1shot/seed0/record.json")
    with pytest.raises(DfmlError, match=r"record\.json"):
        publish(shelf, tmp_path / "docs")
    (shelf / "results.csv").write_text("method")
    with pytest.raises(DfmlError, match=r"results\.csv has no column `record`"):
        publish(shelf, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize(
    ("broken", "content"),
    [("record.json", b""), ("record.json", b"{}"), (ACCURACIES, None), (ACCURACIES, b""), (ACCURACIES, b"{}")],
)
def test_a_damaged_record_is_refused_and_nothing_copied(shelf, tmp_path, broken, content):
    record = write_record(shelf, seed=0)
    listed(shelf, record)
    path = record.with_name(broken)
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(DfmlError, match=broken):
        publish(shelf, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("packed", sorted((ROOT / "docs/results").glob(f"*/{RECORDS}")), ids=lambda p: p.parent.name)
def test_committed_results_are_those_of_the_committed_records(packed, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    found = collect(sorted(tmp_path.glob("evaluation/**/record.json")), root=tmp_path)
    rows = read_results_csv(packed.with_name("results.csv"))
    own = rows[[pool == Path(record).parts[1] for pool, record in zip(rows.pool, rows.record, strict=True)]]
    write_results_csv(found, tmp_path / "found.csv")
    again = read_results_csv(tmp_path / "found.csv")
    pd.testing.assert_frame_equal(again, own.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("name", ["tables/main.md", "results.csv", "metrics.json"])
def test_an_unfinished_experiment_is_refused_and_nothing_copied(shelf, tmp_path, name):
    (shelf / name).unlink()
    with pytest.raises(DfmlError, match=rf"has no {name.split('/')[-1]}: run the workflow"):
        publish(shelf, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_the_default_experiment_shows_its_short_table_in_the_readme(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").mkdir()
    for name in ("workflow/Snakefile", "dvc.yaml"):
        (tmp_path / name).touch()
    with_the_demos_results(shelf)
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- table:short:begin -->\n<!-- table:short:end -->\nz\n")
    assert main(["publish", "demo"]) == 0
    text = readme.read_text()
    assert text.startswith("a\n") and "| FREE + heads " in text
    shelf.rename(shelf.with_name("mine"))
    assert main(["publish", "mine"]) == 0
    assert (tmp_path / "docs/results/mine/main.md").is_file()
    assert readme.read_text() == text


def test_verdicts_follow_what_is_published(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").mkdir()
    for name in ("workflow/Snakefile", "dvc.yaml"):
        (tmp_path / name).touch()
    shelf.rename(shelf.with_name("mine"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "resources").mkdir()
    for name in ("resources/published.yaml", "docs/published.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    test = "{experiment: mine, of: free, pool: single, rule: finetune, at_least: 30, seeds: 3}"
    claim = f"{{id: good, says: It is good., source: ours, budget: none, compare: [{test}]}}"
    (tmp_path / "docs/claims.yaml").write_text(f"experiments: {{mine: {{cost: a minute}}}}\nclaims: [{claim}]\n")
    assert main(["publish", "mine"]) == 1  # the results of this shelf are none
    with_the_demos_results(tmp_path / "results/mine")
    assert main(["publish", "mine"]) == 1  # and these are of another experiment
    text = (ROOT / "docs/results/demo/results.csv").read_text().replace("\ndemo,", "\nmine,")
    (tmp_path / "results/mine/results.csv").write_text(text)
    assert main(["publish", "mine"]) == 0
    assert "It is good." in (tmp_path / "docs/claims.md").read_text()
