"""Differences to the best model: on the same episodes, with intervals that are known, and how tables show them."""

import numpy as np
import pandas as pd
import pytest

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies
from dfml.errors import DfmlError, FileFormatError
from dfml.results.collect import collect, collect_records, read_results_csv
from dfml.results.grid import read_grid
from dfml.results.summary import average_over_seeds, with_domain_means
from dfml.results.tables.accuracy import main_table
from dfml.results.tables.difference import difference_table
from dfml.results.tables.page import to_html
from dfml.results.tables.writing import to_markdown, to_tex
from support.manifests import result
from support.results import GRID, write_demo, write_record

BEST, FREE = [400, 500, 600, 500], [410, 530, 610, 530]  # of 1000; differences in points: 1, 3, 1, 3


def pair(folder, *, seed=0, best=BEST, free=FREE, **changes):
    """Records of the best model and of FREE under one rule."""
    counts = {"best": best, "free": free}
    return [
        write_record(
            folder,
            right=[right],
            results=[result(episodes=len(right), accuracy=float(np.mean(right)) / 10)],
            **{"method": method, "seed": seed} | changes,
        )
        for method, right in counts.items()
    ]


def gains(frame, method="free"):
    return frame.loc[frame["method"] == method, ["over_best", "over_best_ci95"]].values.tolist()


def seeds_of(folder, differences):
    """FREE above the best model by these many points, alike in all episodes, a seed for each."""
    paths = []
    for seed, points in enumerate(differences):
        start = 400 + 50 * seed
        paths += pair(folder, seed=seed, best=[start] * 4, free=[start + round(10 * points)] * 4)
    return paths


def test_the_difference_of_one_seed_is_that_of_its_episodes(tmp_path):
    frame = collect(pair(tmp_path))
    # mean 2, deviations ±1: sd 1 (ddof 0), √4 = 2
    assert gains(frame) == [[pytest.approx(2.0), pytest.approx(1.96 / 2)]]
    assert gains(frame, "best") == [[0.0, 0.0]]


def test_students_interval_over_seeds(tmp_path):
    [row] = (
        average_over_seeds(collect(seeds_of(tmp_path, [1.0, 2.0, 3.0]))).query("method == 'free'").to_dict("records")
    )
    assert row["over_best"] == pytest.approx(2.0)
    assert row["over_best_t95"] == pytest.approx(4.302653 / 3**0.5, abs=1e-5)
    assert row["over_best_ci95"] == 0.0


def test_one_seed_has_no_interval_over_seeds(tmp_path):
    rows = average_over_seeds(collect(pair(tmp_path)))
    assert rows["over_best_t95"].isna().all()


def test_the_numbers_of_seeds_change_nothing(tmp_path):
    one = average_over_seeds(collect(seeds_of(tmp_path / "a", [0.5, 4.0, 1.0])))
    paths = []
    for seed, start, points in ((0, 450, 4.0), (1, 500, 1.0), (2, 400, 0.5)):
        paths += pair(tmp_path / "b", seed=seed, best=[start] * 4, free=[start + round(10 * points)] * 4)
    pd.testing.assert_frame_equal(one, average_over_seeds(collect(paths)))


def test_pairing_narrows_the_interval_of_learners_that_find_the_same_episodes_hard(tmp_path):
    draws = np.random.default_rng(0)
    hard = draws.integers(200, 700, 600)
    frame = collect(pair(tmp_path, best=hard + draws.integers(0, 50, 600), free=hard + draws.integers(0, 50, 600)))
    apart = np.hypot(
        *(
            np.std(
                EpisodeAccuracies.load(tmp_path / f"evaluation/single/{m}/1shot/seed0/{ACCURACIES}").percent(
                    ("icons_colour", "finetune", "transductive")
                )
            )
            * 1.96
            / 600**0.5
            for m in ("best", "free")
        )
    )
    assert gains(frame)[0][1] < 0.25 * apart


def test_each_cell_is_compared_within_its_pool_seed_shots_rule_and_mode(tmp_path):
    grid = [("single", "best", None), *GRID]
    frame = collect(write_demo(tmp_path, grid=grid, shots=(1, 5)))
    place = ["pool", "shots", "seed", "dataset", "rule", "batch_norm"]
    reference = frame["pool"].map({"single": "best", "multi_architecture": "zoo_features"})
    best = frame[frame["method"] == reference].set_index(place)["accuracy"]
    compared = frame.join(best.rename("reference"), on=place)
    expected = (compared["accuracy"] - compared["reference"]).values
    assert compared["over_best"].values == pytest.approx(expected, nan_ok=True)
    assert compared.loc[compared["pool"] == "single", "over_best"].notna().all()


def test_what_the_best_model_was_not_asked_for_has_no_difference(tmp_path):
    both = [result(), result(rule="centroid_cosine")]
    paths = [write_record(tmp_path, method="best", results=both[:1]), write_record(tmp_path, results=both)]
    frame = collect(paths)
    assert frame.set_index(["method", "rule"])["over_best"].isna().to_dict() == {
        ("best", "finetune"): False,
        ("free", "centroid_cosine"): True,
        ("free", "finetune"): False,
    }


def test_cells_that_share_a_record_share_its_accuracies(tmp_path):
    best, free = pair(tmp_path)
    other = write_record(tmp_path, pool="both", method="best", right=[[450] * 4], results=[result(episodes=4)])
    frame = collect([best, free, other], shared=[["both", "free", 1, 0, "single"]])
    found = frame[frame["method"] == "free"].set_index("pool")["over_best"]
    assert found.to_dict() == {"single": pytest.approx(2.0), "both": pytest.approx(7.0)}


def test_the_columns_are_read_as_they_were_written(tmp_path):
    paths = [*pair(tmp_path), write_record(tmp_path, pool="other", results=[result(episodes=4)])]
    collect_records(paths, tmp_path / "results.csv")
    frame = read_results_csv(tmp_path / "results.csv")
    columns = ["over_best", "over_best_ci95"]
    pd.testing.assert_frame_equal(frame[columns], collect(paths)[columns].astype("float64"))
    assert frame["over_best"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize("value", ["inf", ""])
def test_half_a_difference_is_refused(tmp_path, value):
    collect_records(pair(tmp_path), tmp_path / "results.csv")
    path = tmp_path / "results.csv"
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    raw.loc[0, "over_best"] = value
    raw.to_csv(path, index=False)
    with pytest.raises(FileFormatError, match="a difference is not finite, or without its interval"):
        read_results_csv(path)


def test_accuracies_of_another_record_are_refused(tmp_path):
    best, free = pair(tmp_path)
    free.with_name(ACCURACIES).write_bytes(best.with_name(ACCURACIES).read_bytes())
    with pytest.raises(FileFormatError, match="does not hold the accuracies of record"):
        collect([best, free])


def test_a_record_without_its_accuracies_is_refused_even_with_nothing_to_compare(tmp_path):
    path = write_record(tmp_path)
    path.with_name(ACCURACIES).unlink()
    with pytest.raises(FileFormatError, match=r"accuracies\.npz is missing"):
        collect([path])


def test_another_number_of_episodes_is_refused(tmp_path):
    with pytest.raises(DfmlError, match="has other episodes than the best model's record"):
        collect(pair(tmp_path, free=[500, 500, 500]))


def test_means_over_data_sets_have_differences_where_all_have(tmp_path):
    names = ("emoji", "glyphs")
    records = [
        write_record(
            tmp_path,
            method=method,
            right=right,
            results=[result(dataset=name, episodes=4) for name in names],
        )
        for method, right in (("best", [BEST, BEST]), ("free", [FREE, [505, 605, 705, 605]]))
    ]
    frame = with_domain_means(collect(records))
    mean = frame[(frame["dataset"] == "mean of 2") & (frame["method"] == "free")].iloc[0]
    # 2 ± 1.96 / 2 and 10.5 ± 0
    assert (mean["over_best"], mean["over_best_ci95"]) == (pytest.approx(6.25), pytest.approx(1.96 / 4))


def made(folder, records, grid, shots=(1,)):
    """The main table and that of differences."""
    collect_records(records, folder / "results.csv")
    frame, cells = read_results_csv(folder / "results.csv"), read_grid(grid)
    return [table(frame, cells, ways=5, shots=list(shots)) for table in (main_table, difference_table)]


def lines(table):
    """Cells of every row of its Markdown, by method."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in to_markdown(table).splitlines()]
    return {row[2]: row[3:] for row in rows if len(row) > 3}


PAIR = [("single", "best", None), ("single", "free", None)]


class TestTables:
    def test_a_difference_that_seeds_support_is_bold(self, tmp_path):
        main, difference = made(tmp_path, seeds_of(tmp_path, [2.0, 2.1, 2.2]), PAIR)
        # sd 0.1: 4.3027 · 0.1 / √3 = 0.25
        assert lines(difference)["FREE"] == ["**+2.10 ± 0.25 (3)**", "0.00"]
        assert lines(difference)["Best single"] == ["reference", "–"]
        assert lines(main)["FREE"][0].startswith("**")
        assert not lines(main)["Best single"][0].startswith("**")
        assert r"\textbf{+2.10 $\pm$ 0.25 (3)}" in to_tex(difference)

    def test_one_that_they_do_not_support_is_not(self, tmp_path):
        main, difference = made(tmp_path, seeds_of(tmp_path, [1.0, 2.0, 9.0]), PAIR)
        assert lines(difference)["FREE"] == ["+4.00 ± 10.83 (3)", "0.00"]
        assert "**" not in "".join(cell for row in lines(main).values() for cell in row)

    def test_one_seed_shows_the_interval_over_episodes_and_says_so(self, tmp_path):
        main, difference = made(tmp_path, pair(tmp_path), PAIR)
        assert lines(difference)["FREE"] == ["+2.00 ± n/a (1)", "0.98"]
        assert any("with one seed, which has no interval over seeds (n/a)" in note for note in difference.notes)
        assert not main.data["leads"].any()

    def test_what_reads_real_images_is_never_bold_in_the_main_table(self, tmp_path):
        records = seeds_of(tmp_path, [2.0, 2.1, 2.2])
        for seed in range(3):
            records.append(
                write_record(tmp_path, method="supervised_maml", seed=seed, results=[result(accuracy=90.0, episodes=4)])
            )
        main, difference = made(tmp_path, records, [*PAIR, ("single", "supervised_maml", None)])
        (bound,) = (row for name, row in lines(main).items() if name.startswith("Supervised MAML"))
        assert not bound[0].startswith("**")
        assert lines(main)["FREE"][0].startswith("**")
        assert any(name.startswith("Supervised MAML") for name in lines(difference))

    def test_pools_without_the_best_model_are_named(self, tmp_path):
        records = [*pair(tmp_path), write_record(tmp_path, pool="other", results=[result(episodes=4)])]
        _, difference = made(tmp_path, records, [*PAIR, ("other", "free", None)])
        assert set(difference.data["pool"]) == {"single"}
        assert "Left out, since neither Best single nor Zoo features was run on them: other." in difference.notes

    def test_where_no_model_can_be_the_learner_the_best_models_features_are_the_reference(self, tmp_path):
        both = [result(episodes=4), result(rule="centroid_cosine", episodes=4)]
        features = write_record(tmp_path, pool="lab", method="zoo_features", right=[BEST], results=both[1:])
        free = write_record(tmp_path, pool="lab", right=[FREE, FREE], results=both)
        grid = [*PAIR, ("lab", "zoo_features", None), ("lab", "free", None)]
        _, difference = made(tmp_path, [*pair(tmp_path), features, free], grid)
        found = difference.data.set_index(["pool", "method", "rule"])["over_best"]
        assert found["lab", "free", "centroid_cosine"] == found["single", "free", "finetune"] == pytest.approx(2.0)
        assert np.isnan(found["lab", "free", "finetune"])
        assert lines(difference)["Zoo features"] == ["–", "–", "reference", "–"]
        note = "Compared with the best model's frozen features (Zoo features), as Best single was not run: lab."
        assert note in difference.notes

    def test_an_experiment_without_it_says_so(self, tmp_path):
        _, difference = made(tmp_path, [write_record(tmp_path)], PAIR[1:])
        assert list(difference.notes) == [
            "No pool has a record of Best single or Zoo features: there is nothing to compare with."
        ]
        assert difference.data.empty
        for written in (to_markdown(difference), to_tex(difference), to_html(difference)):
            assert difference.notes[0] in written

    def test_the_ensembles_euclidean_distance_is_marked(self, tmp_path):
        rules = ("centroid_euclidean", "centroid_cosine")
        records = [
            write_record(tmp_path, method=method, results=[result(rule=rule) for rule in rules])
            for method in ("best", "zoo_ensemble")
        ]
        grid = [PAIR[0], ("single", "zoo_ensemble", None)]
        for table, at in zip(made(tmp_path, records, grid), (0, 0), strict=True):
            marked = [cell for row in lines(table).values() for cell in row if cell.endswith("(a)")]
            assert marked == [lines(table)["Zoo ensemble"][at]]
            ((letter, note),) = table.footnotes.items()
            assert (letter, note.split(":")[0]) == ("a", "not the plain Euclidean distance")
            own = table.data[table.data["method"] == "zoo_ensemble"].set_index("rule")["note"]
            assert own["centroid_euclidean"] == note
            assert own["centroid_cosine"] == ""
