"""Comparing experiments: the settings that differ, the joined numbers, and what is refused."""

import pandas as pd
import pytest
import yaml

from dfml.cli.main import main
from dfml.errors import DfmlError
from dfml.results.collect import collect_records
from dfml.results.compare import differing, join_experiments
from dfml.results.summary import average_over_seeds
from support.results import write_demo

GRID = [("single", method, None) for method in ("best", "free")]


def finished(folder, **config):
    collect_records(write_demo(folder, grid=GRID, seeds=(0, 1)), folder / "results.csv")
    (folder / "config.yaml").write_text(yaml.safe_dump({"experiment": folder.name, "ways": 5, **config}))
    return folder


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"zoo": {"models": 4, "epochs": 3}}, {"zoo": {"models": 8, "epochs": 3}}, {"zoo.models": [4, 8]}),
        ({"seeds": [0]}, {"seeds": [0, 1]}, {"seeds": [[0], [0, 1]]}),
        ({"experiment": "a"}, {"experiment": "b"}, {}),
        (
            {"variants": {}},
            {"variants": {"free-x": {"a": 1}}},
            {"variants": [{}, None], "variants.free-x.a": [None, 1]},
        ),
        ({"a": 0}, {"a": None}, {"a": [0, None]}),
    ],
)
def test_only_settings_that_differ_are_named(first, second, expected):
    assert differing([first, second]) == expected


def test_numbers_stand_beside_the_settings_of_their_own_experiment(tmp_path):
    folders = [finished(tmp_path / name, zoo={"models": models}) for name, models in (("a", 4), ("b", 8))]
    changed = pd.read_csv(folders[1] / "results.csv")
    changed["accuracy"] += 1.0
    changed.to_csv(folders[1] / "results.csv", index=False)
    frame, settings = join_experiments(folders)
    assert settings == ["zoo.models"]
    alone = average_over_seeds(pd.read_csv(folders[0] / "results.csv"))
    for models, gain in (("4", 0.0), ("8", 1.0)):
        own = frame[frame["setting zoo.models"] == models]
        assert own["accuracy"].tolist() == pytest.approx((alone["accuracy"] + gain).tolist())


def test_of_unlike_experiments_the_names_are_shown(tmp_path, capsys):
    sizes = {"a": dict.fromkeys("pqrst", 1), "b": dict.fromkeys("pqrst", 2)}
    folders = [str(finished(tmp_path / name, zoo=zoo)) for name, zoo in sizes.items()]
    assert main(["compare", *folders]) == 0
    shown = capsys.readouterr().out
    assert "5 settings differ; --csv" in shown
    assert "zoo.p" not in shown
    assert [line.split("│")[2].strip() for line in shown.splitlines() if "Best" in line] == ["a", "b"]


def test_experiments_of_one_name_are_told_apart_by_their_folders(tmp_path):
    folders = [finished(tmp_path / clone / "demo", zoo=dict.fromkeys("pqrst", clone)) for clone in "ab"]
    frame, _ = join_experiments(folders)
    assert list(frame["experiment"].unique()) == [str(folder) for folder in folders]


def test_the_command_passes_over_files_and_writes_csv(tmp_path, capsys):
    folders = [finished(tmp_path / name, zoo={"models": models}) for name, models in (("a", 4), ("b", 8))]
    (tmp_path / "README.md").write_text("not an experiment")
    paths = [str(path) for path in (*folders, tmp_path / "README.md")]
    assert main(["compare", *paths]) == 0
    assert "zoo.models" in capsys.readouterr().out
    assert main(["compare", *paths, "--csv", str(tmp_path / "all.csv")]) == 0
    table = pd.read_csv(tmp_path / "all.csv")
    assert table.groupby("experiment")["setting zoo.models"].unique().map(list).to_dict() == {"a": [4], "b": [8]}


@pytest.mark.parametrize("gone", ["results.csv", "config.yaml"])
def test_an_unfinished_experiment_is_named(tmp_path, gone):
    folders = [finished(tmp_path / name) for name in "ab"]
    (folders[1] / gone).unlink()
    with pytest.raises(DfmlError, match=f"b has no {gone}: run that experiment"):
        join_experiments(folders)


def test_no_folder_and_one_given_twice_are_refused(tmp_path, capsys):
    assert main(["compare", str(finished(tmp_path / "a") / "results.csv")]) == 1
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "a/")]) == 1
    assert "twice" in capsys.readouterr().err
