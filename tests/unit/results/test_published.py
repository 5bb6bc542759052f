"""Published numbers: read once, beside ours only where the data sets are the same, never in one column."""

import pandas as pd
import pytest

from dfml.errors import ConfigError
from dfml.evaluation.intervals import student95
from dfml.results.collect import collect_records, read_results_csv
from dfml.results.grid import read_grid
from dfml.results.published import DECLARED, load_published, published_lists
from dfml.results.reading import read_zoos
from dfml.results.tables.published import published_table
from support.manifests import result, write, zoo
from support.results import write_record

MINIMAL = """
protocols: {p: how}
sources: {s: where}
numbers:
  - &one
    method: FREE
    protocol: p
    source: s
    datasets: [cifar_fs]
    shots: 1
    printed: 39.13 ± 0.50
    ours: [free]
    rule: finetune
  - {<<: *one, datasets: [cifar_fs, cub], printed: "31.5"}
"""


def declared(folder, text=MINIMAL):
    path = folder / "published.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def table_of(folder, accuracies, *, method="free", ways=5, split="meta_test"):
    """The table of an experiment with these accuracies by (data set, seed)."""
    records = []
    for seed in sorted({seed for _, seed in accuracies}):
        results = [
            result(dataset=name, rule=rule, batch_norm="transductive", accuracy=value + shift)
            for (name, of), value in accuracies.items()
            if of == seed
            for rule, shift in (("finetune", 0.0), ("centroid_cosine", 7.0))
        ]
        records.append(write_record(folder, pool="single", method=method, seed=seed, results=results))
    collect_records(records, folder / "results.csv")
    frame = read_results_csv(folder / "results.csv").assign(split=split)
    zoos = [zoo(dataset=name) for name in sorted({name for name, _ in accuracies})]
    files = [write(folder, f"zoo{place}.json", content) for place, content in enumerate(zoos)]
    grid = read_grid([("single", name, None) for name in ("free", "random")])
    published = load_published(declared(folder))
    return published_table(frame, grid, read_zoos(files), published, ways=ways, shots=[1])


def test_gap_is_of_the_mean_over_seeds_by_the_rule_of_the_number(tmp_path):
    data = table_of(tmp_path, {("cifar_fs", 0): 40.0, ("cifar_fs", 1): 44.0}).data
    (row,) = data.to_dict("records")
    assert (row["published"], row["printed"]) == (39.13, "39.13 ± 0.50")
    assert (row["accuracy"], row["seeds"], row["rule"]) == (42.0, 2, "finetune")
    assert row["gap"] == pytest.approx(42.0 - 39.13)
    assert row["t95"] == pytest.approx(student95([40.0, 44.0]))


def test_several_data_sets_are_held_against_a_number_on_just_these(tmp_path):
    data = table_of(tmp_path, {("cifar_fs", 0): 40.0, ("cub", 0): 30.0}).data
    assert data[["datasets", "published", "accuracy"]].values.tolist() == [["cifar_fs, cub", 31.5, 35.0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracies": {("icons", 0): 40.0}},
        {"accuracies": {("cifar_fs", 0): 40.0, ("icons", 0): 40.0}},
        {"accuracies": {("cifar_fs", 0): 40.0}, "ways": 10},
        {"accuracies": {("cifar_fs", 0): 40.0}, "split": "meta_val"},
    ],
)
def test_what_is_not_comparable_has_no_row(tmp_path, changes):
    table = table_of(tmp_path, **changes)
    assert table.data.empty
    assert not table.sections[0].rows
    assert "Nobody has published" in table.notes[0]


def test_a_method_that_did_not_run_is_said_not_to_have(tmp_path):
    table = table_of(tmp_path, {("cifar_fs", 0): 40.0}, method="random")
    assert table.data["status"].tolist() == ["not run"]
    assert [cell.text for cell in table.sections[0].rows[0]][-2:] == ["not run", "–"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ours: [free]", "ours: [fre]", "there is no method `fre`"),
        ("protocol: p", "protocol: q", "numbers.0.protocol: `q`"),
        ("source: s", "source: t", "numbers.0.source: `t`"),
        ("39.13 ± 0.50", "39", "printed"),
        ("39.13 ± 0.50", "139.13", "printed"),
        ("shots: 1", "shot: 1", "did you mean `shots`"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path, old, new, said):
    with pytest.raises(ConfigError) as caught:
        load_published(declared(tmp_path, MINIMAL.replace(old, new, 1)))
    assert said in str(caught.value)
    assert "published.yaml" in str(caught.value)


def test_committed_numbers_are_those_that_were_read():
    published = load_published(DECLARED)
    free = [(number.datasets, number.shots, number.accuracy) for number in published.numbers if number.method == "FREE"]
    everything = ("cifar_fs", "mini_imagenet", "cub")
    assert free == [
        (("cifar_fs",), 1, 39.13),
        (("cifar_fs",), 1, 39.63),
        (("mini_imagenet",), 5, 45.45),
        (everything, 1, 31.51),
    ]
    assert len(published.of(["cifar_fs"], 1)) == 6
    assert published_lists(published).count("\n| ") == len(published.numbers) + 2  # and a head for each protocol


def test_columns_of_ours_hold_nothing_published(tmp_path):
    table = table_of(tmp_path, {("cifar_fs", 0): 40.0})
    groups = {column.title: column.group for column in table.sections[0].columns if column.group}
    (row,) = table.sections[0].rows
    ours = [cell.text for cell, column in zip(row, table.sections[0].columns, strict=True) if column.group == "ours"]
    assert "39.13" not in " ".join(ours)
    assert set(groups.values()) == {"published", "ours"}
    assert isinstance(table.data, pd.DataFrame)
