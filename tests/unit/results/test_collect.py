"""results.csv: one row per measured accuracy, every cell once, nothing altered on the way."""

import pandas as pd
import pytest

from dfml.errors import DfmlError, FileFormatError
from dfml.results.collect import RESULT_COLUMNS, collect, collect_records, read_results_csv
from dfml.results.grid import GridCell, check_against_grid, read_grid
from dfml.results.summary import average_over_seeds, with_domain_means
from support.manifests import result, write
from support.results import GRID, MODES, RULES, write_demo, write_record

KEY = ["experiment", "pool", "method", "ways", "shots", "seed", "dataset", "rule", "batch_norm"]


def collected(folder, paths) -> pd.DataFrame:
    collect_records(paths, folder / "results.csv")
    return read_results_csv(folder / "results.csv")


def test_a_row_per_result_sorted_with_the_published_columns(tmp_path):
    paths = write_demo(tmp_path, seeds=(1, 0))
    frame = collect(paths)
    assert list(frame.columns) == RESULT_COLUMNS
    assert frame[KEY].apply(tuple, axis=1).is_monotonic_increasing
    measured = sum(len(RULES) - method.startswith("zoo_") for _, method, reason in GRID if reason is None)
    assert len(frame) == 2 * len(MODES) * measured


def test_a_shared_record_stands_in_a_row_of_every_cell(tmp_path):
    own = write_record(tmp_path, pool="single", method="random", shots=1, seed=0)
    shared = [["both", "random", 1, 0, "single"]]
    collect_records([own], tmp_path / "results.csv", shared=shared)
    frame = read_results_csv(tmp_path / "results.csv")
    one, other = (
        frame[frame["pool"] == pool].drop(columns="pool").reset_index(drop=True) for pool in ("single", "both")
    )
    assert len(one) > 0
    pd.testing.assert_frame_equal(one, other)


def test_a_shared_record_that_is_missing_is_named(tmp_path):
    own = write_record(tmp_path, pool="single", method="random", shots=1, seed=0)
    with pytest.raises(DfmlError, match="both / random, 5-shot, seed 0 has the record of single"):
        collect([own], shared=[["both", "random", 5, 0, "single"]])


def test_order_of_paths_does_not_change_a_byte(tmp_path):
    paths = write_demo(tmp_path)
    collect_records(paths, tmp_path / "a.csv")
    collect_records(paths[::-1], tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_what_is_written_is_what_is_read(tmp_path):
    path = write_record(
        tmp_path,
        pool="null",
        inference_macs=None,
        results=[result(accuracy=100 / 3, ci95=0.1 + 0.2), result(rule="centroid_cosine")],
    )
    frame = collected(tmp_path, [path])
    row = frame[frame["rule"] == "finetune"].iloc[0]
    assert (row["accuracy"], row["ci95"]) == (100 / 3, 0.1 + 0.2)
    assert (row["pool"], row["config_digest"], row["git_commit"]) == ("null", "12e4", "")
    assert pd.isna(row["inference_macs"])


def test_record_path_is_relative_to_the_results(tmp_path):
    frame = collected(tmp_path, [write_record(tmp_path)])
    assert frame["record"].tolist() == ["evaluation/single/free/1shot/seed0/record.json"]


def test_one_cell_in_two_files_is_refused_naming_both(tmp_path):
    paths = [write_record(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(DfmlError) as caught:
        collect_records(paths, tmp_path / "results.csv")
    assert all(str(path) in str(caught.value) for path in paths)
    assert not (tmp_path / "results.csv").exists()


def test_cells_on_different_episodes_are_refused(tmp_path):
    paths = [write_record(tmp_path, seed=0), write_record(tmp_path, seed=1, episode_digest="e2")]
    with pytest.raises(DfmlError, match="different episodes"):
        collect(paths)


def test_nothing_to_collect_is_an_error(tmp_path):
    with pytest.raises(DfmlError, match="no record"):
        collect_records([], tmp_path / "results.csv")


def test_malformed_record_leaves_the_old_results(tmp_path):
    good = write_record(tmp_path)
    collect_records([good], tmp_path / "results.csv")
    before = (tmp_path / "results.csv").read_bytes()
    bad = write(tmp_path, "bad/record.json", {"format": "dfml.record", "version": 3})
    with pytest.raises(FileFormatError, match="bad"):
        collect_records([good, bad], tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda text: text.replace("accuracy", "acc", 1), "accuracy"),
        (lambda text: text.replace("40.0", "forty"), "accuracy"),
        (lambda text: text.replace("40.0", ""), "accuracy"),
        (lambda text: text + text.splitlines()[1] + "\n", "twice"),
        (lambda text: text + text.splitlines()[1].replace("demo", "other") + "\n", "demo, other"),
        (lambda text: text.splitlines()[0] + "\n", "no result"),
        (lambda text: "", "cannot be read"),
        (lambda text: text[:-9], "cut short"),
    ],
)
def test_damaged_results_are_refused(tmp_path, damage, named):
    collect_records([write_record(tmp_path)], tmp_path / "results.csv")
    path = tmp_path / "results.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(FileFormatError, match=named) as caught:
        read_results_csv(path)
    assert str(path) in str(caught.value)


def test_mean_over_seeds_known_answer(tmp_path):
    pairs = [(40.0, 3.0), (44.0, 4.0)]
    paths = [
        write_record(tmp_path, seed=seed, results=[result(accuracy=accuracy, ci95=ci)])
        for seed, (accuracy, ci) in enumerate(pairs)
    ]
    [row] = average_over_seeds(collect(paths)).to_dict("records")
    assert (row["accuracy"], row["ci95"], row["seeds"]) == (42.0, 2.5, 2)
    assert row["seed_sd"] == pytest.approx(8**0.5)


def test_several_data_sets_get_their_mean_only_where_all_were_evaluated(tmp_path):
    both = [result(accuracy=40.0, ci95=3.0), result(dataset="emoji", accuracy=50.0, ci95=4.0)]
    paths = [
        write_record(tmp_path, results=both),
        write_record(tmp_path, method="random", results=both[:1]),
    ]
    frame = with_domain_means(collect(paths))
    means = frame[frame["dataset"] == "mean of 2"]
    assert means[["method", "accuracy", "ci95"]].values.tolist() == [["free", 45.0, 2.5]]


class TestGrid:
    def test_plain_rows_become_cells_in_order(self):
        assert read_grid(GRID)[9] == GridCell(*GRID[9])
        assert [cell.method for cell in read_grid(GRID)][:2] == ["random", "average"]

    def test_a_pair_stands_once(self):
        with pytest.raises(DfmlError, match="p / free twice"):
            read_grid([("p", "free"), ("p", "free", "it cannot")])

    @pytest.mark.parametrize(
        ("grid", "ways", "shots"),
        [
            ([("single", "free", "it cannot")], 5, [1]),
            ([("single", "random", None)], 5, [1]),
            ([("single", "free", None)], 3, [1]),
            ([("single", "free", None)], 5, [5]),
        ],
    )
    def test_a_number_without_a_place_is_refused(self, tmp_path, grid, ways, shots):
        frame = collect([write_record(tmp_path)])
        with pytest.raises(DfmlError, match="single / free, 5-way 1-shot"):
            check_against_grid(frame, read_grid(grid), ways=ways, shots=shots)


def test_fewer_columns_are_read_of_a_file_of_another_version(tmp_path):
    collect_records([write_record(tmp_path)], tmp_path / "results.csv")
    path = tmp_path / "results.csv"
    whole = read_results_csv(path)
    path.write_text(path.read_text().replace("over_best,over_best_ci95", "others,of_then", 1))
    wanted = [name for name in RESULT_COLUMNS if not name.startswith("over_best")]
    assert read_results_csv(path, wanted).equals(whole[wanted])
    with pytest.raises(FileFormatError, match="columns over_best, over_best_ci95 are missing"):
        read_results_csv(path)
