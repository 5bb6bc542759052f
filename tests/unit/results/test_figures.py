"""Figures: what is drawn is what was recorded, and equal numbers give equal bytes."""

import matplotlib as mpl
import pandas as pd
import pytest

from dfml.artefacts.record import Record
from dfml.errors import DfmlError
from dfml.results.collect import collect, collect_records
from dfml.results.figures.bank_quality import bank_quality_figure
from dfml.results.figures.curves import curve_frame, learning_curves_figure, seed_band
from dfml.results.figures.inner_steps import inner_steps_figure
from dfml.results.figures.main import main_figure
from dfml.results.figures.style import method_styles
from dfml.results.grid import read_grid
from dfml.results.reading import read_inversions, read_speeds
from dfml.results.stage import FIGURES, Measurements, draw_figures
from support.manifests import fields, inversion, record, result, speed, write
from support.results import GRID, write_demo, write_record

SMALL = [row for row in GRID if row[1] in {"random", "average", "free", "supervised_maml"}]


def draw(folder, records, *, grid, inversions=(), speeds=(), name="figures"):
    collect_records(records, folder / "results.csv")
    draw_figures(
        Measurements.read(folder / "results.csv", records, grid=grid, ways=5, shots=[1]),
        inversions=inversions,
        speeds=speeds,
        output=folder / name,
    )
    return folder / name


def test_every_figure_in_both_formats_and_equal_bytes(tmp_path):
    records = write_demo(tmp_path, grid=SMALL[:4], seeds=(0, 1))
    inversions = [write(tmp_path, f"{seed}.json", inversion(seed=seed)) for seed in (0, 1)]
    speeds = [write(tmp_path, "inversion/single/speed.json", speed())]
    first, second = (
        draw(tmp_path, records, grid=SMALL[:4], inversions=inversions, speeds=speeds, name=name) for name in ("a", "b")
    )
    assert {path.name for path in first.iterdir()} == {f"{s}.{t}" for s in FIGURES for t in ("svg", "png")}
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert "<dc:date>" not in (first / "main.svg").read_text()


def test_nothing_to_draw_is_said_and_settings_are_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    figures = draw(tmp_path, [write_record(tmp_path)], grid=[("single", "free", None)])
    assert len(list(figures.iterdir())) == 2 * len(FIGURES)
    assert dict(mpl.rcParams) == before


def test_curve_outside_the_grid_is_refused(tmp_path):
    records = write_demo(tmp_path, grid=SMALL, seeds=(0,))
    collect_records(records[:1], tmp_path / "results.csv")
    with pytest.raises(DfmlError, match="a record holds"):
        Measurements.read(tmp_path / "results.csv", records, grid=SMALL[:1], ways=5, shots=[1])


def test_main_figure_draws_each_mean_with_its_interval_and_the_chance_line(tmp_path):
    grid = read_grid(SMALL)
    frame = collect(write_demo(tmp_path, grid=SMALL))
    panels = main_figure(frame, grid, ways=5, shots=[1]).axes
    assert len(panels) == 4
    widths = {round(bar.get_width(), 6) for bar in panels[0].patches}
    assert widths == {
        round(level + offset + 0.2, 6) for level in (21.0, 23.0, 34.0, 51.0) for offset in (0.0, 4.0, 8.0)
    }
    assert [20.0, 20.0] in [list(line.get_xdata()) for line in panels[0].lines]
    assert [label.get_text() for label in panels[0].get_yticklabels()][-1] == "Supervised MAML*"
    assert "n/a" in [text.get_text() for text in panels[2].texts]


def test_main_figure_has_no_row_for_shots_that_a_method_is_not_asked_for(tmp_path):
    grid = read_grid([("single", "random", None), ("single", "free", None, [1])])
    both = collect(
        [*write_demo(tmp_path, grid=[("single", "random", None)], shots=(1, 5)), *write_demo(tmp_path, grid=SMALL[2:3])]
    )
    one, _, five, _ = main_figure(both, grid, ways=5, shots=[1, 5]).axes
    assert [label.get_text() for label in one.get_yticklabels()] == ["Random", "FREE"]
    assert [label.get_text() for label in five.get_yticklabels()] == ["Random"]
    assert not five.texts or "not run" not in [text.get_text() for text in five.texts]


def test_band_keeps_only_iterations_that_every_seed_reached():
    rows = [(0, 0, 20.0), (0, 10, 30.0), (0, 20, 40.0), (1, 0, 22.0), (1, 10, 36.0)]
    series = pd.DataFrame(rows, columns=["seed", "iteration", "accuracy"]).assign(seconds=1.0)
    band = seed_band(series)
    assert band[["iteration", "mean", "least", "greatest"]].values.tolist() == [
        [0, 21.0, 20.0, 22.0],
        [10, 33.0, 30.0, 36.0],
    ]


def test_learning_curves_prefer_transductive_and_show_only_recorded_methods():
    points = [
        {
            "iteration": 5,
            "seconds": 2.0,
            "accuracy": 31.0,
            "ci95": 1.0,
            "rule": "finetune",
            "batch_norm": mode,
        }
        for mode in ("support", "transductive")
    ]
    curves = curve_frame([Record(**fields(record(curve=points)))])
    figure = learning_curves_figure(curves, pools=["single"], methods=["random", "free"], ways=5)
    assert len(figure.axes) == 1
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["FREE", "chance"]
    assert "transductive" in legend.get_title().get_text()


def test_inner_steps_draws_start_end_scratch_and_arms(tmp_path):
    paths = [
        write(tmp_path, "a.json", inversion()),
        write(tmp_path, "b.json", inversion(seed=1)),
        write(
            tmp_path,
            "c.json",
            inversion(inverter="gen_bn", ce_curve={"first": [3.0, 1.0], "last": [3.0, 2.0]}),
        ),
    ]
    speeds = read_speeds([write(tmp_path, "inversion/single/speed.json", speed())])
    figure = inner_steps_figure(read_inversions(paths), speeds, pools=["single"])
    [panel] = figure.axes
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels[:3] == [
        "five, start of meta-training",
        "five, end of meta-training",
        "gen_bn, from scratch",
    ]
    assert labels[3] == "five, 5 steps: 1.1 s per task"
    assert len(labels) == 6
    assert list(panel.lines[0].get_ydata()) == [4.0, 3.0, 2.2, 1.7, 1.4, 1.2]


WAYS = {"five-k5": 10.0, "five-fresh5": 4.0}
"""Ways of inversion, and their seconds on seed 0."""


class TestBankQuality:
    """Two ways of inversion on two seeds, and a learner of each."""

    def figure(self, tmp_path, pools=("single",), **changes):
        runs = [(way, seed) for way in WAYS for seed in (0, 1)]
        paths, records = [], []
        for way, seed in runs:
            seconds, variant = WAYS[way] + seed, way.partition("-")[2]
            facts = {"inverter": way, "seed": seed, "seconds": seconds, "teacher_ce": 0.2 + 0.2 * seed}
            paths.append(write(tmp_path, f"{way}{seed}.json", inversion(**facts, **changes)))
            records.append(
                write_record(tmp_path, method=f"free-{variant}", seed=seed, bank_seconds=seconds, results=[result()])
            )
        methods = ["free-k5", "free-fresh5"]
        return bank_quality_figure(read_inversions(paths), collect(records), pools=pools, methods=methods)

    def marks(self, panel):
        """Where each name stands."""
        return {text.get_text(): tuple(map(float, text.xy)) for text in panel.texts}

    def test_marks_are_means_over_seeds_with_their_range_and_the_variants_name(self, tmp_path):
        entropy, independent, learned = self.figure(tmp_path).axes
        assert self.marks(entropy) == {"k5": (10.5, pytest.approx(0.3)), "fresh5": (4.5, pytest.approx(0.3))}
        assert self.marks(independent) == {"k5": (10.5, 62.0), "fresh5": (4.5, 62.0)}
        assert {name: x for name, (x, _) in self.marks(learned).items()} == {"k5": 10.5, "fresh5": 4.5}
        bars = [bar.get_segments()[0][:, 1].tolist() for bar in entropy.collections]
        assert bars == [[pytest.approx(0.2), pytest.approx(0.4)]] * 2

    def test_learners_of_centroids_alone_are_drawn_by_them(self, tmp_path):
        paths = [write(tmp_path, f"{way}.json", inversion(inverter=way)) for way in WAYS]
        records = [
            write_record(tmp_path, method="random", results=[result()], bank_seconds=0.0),
            write_record(tmp_path, method="free", results=[result(rule="centroid_cosine")], bank_seconds=9.0),
        ]
        pools = {"pools": ["single"], "methods": ["random", "free"]}
        *_, learned = bank_quality_figure(read_inversions(paths), collect(records), **pools).axes
        assert list(self.marks(learned)) == ["free"]
        none = bank_quality_figure(read_inversions(paths), collect(records[:1]), **pools)
        assert len(none.axes) == 2

    def test_what_was_not_measured_has_no_mark(self, tmp_path):
        _, independent, _ = self.figure(tmp_path, independent_accuracy=None, independent_reason="no judge").axes
        assert self.marks(independent) == {}

    def test_one_way_alone_is_nothing_to_compare(self, tmp_path):
        [panel] = self.figure(tmp_path, pools=("other",)).axes
        assert [text.get_text() for text in panel.texts] == [
            "images were recovered in one way at most: there is nothing to compare"
        ]


def test_known_methods_keep_their_colour_and_others_differ():
    alone, together = method_styles(["free"]), method_styles(["purer", "free", "tgr"])
    assert alone["free"] == together["free"]
    assert list(together) == ["purer", "free", "tgr"]
    assert len({style.colour for style in together.values()}) == 3


def test_accuracy_against_seconds_has_no_panel_where_nothing_ran_and_no_line_of_another_quantity():
    from dfml.results.figures.seconds import accuracy_seconds_figure

    def cell(pool, shots, dataset):
        facts = {"pool": pool, "shots": shots, "dataset": dataset, "method": "free", "ways": 5, "seed": 0}
        facts |= {"rule": "finetune", "batch_norm": "transductive", "accuracy": 40.0, "ci95": 1.0, "episodes": 9}
        facts |= {"split": "meta_test", "over_best": float("nan"), "over_best_ci95": float("nan")}
        return {**facts, "experiment": "demo", "train_seconds": 9.0, "bank_seconds": 2.0}

    places = [("one", 1, "a"), ("one", 5, "a"), ("two", 1, "a"), ("two", 1, "b")]
    frame = pd.DataFrame([cell(*place) for place in places])
    curves = pd.DataFrame(
        [
            {**cell(pool, 1, "a"), "iteration": step, "seconds": 3.0 + step}
            for pool in ("one", "two")
            for step in range(3)
        ]
    )
    figure = accuracy_seconds_figure(frame, curves, pools=["one", "two"], methods=["free"], ways=5)
    drawn = {
        panel.get_title().split("\n")[0]: sum(len(line.get_xdata()) == 3 for line in panel.lines)
        for panel in figure.axes
        if panel.get_title()
    }
    assert drawn == {
        "one, a, 5-way 1-shot": 1,
        "two, a, 5-way 1-shot": 0,
        "two, b, 5-way 1-shot": 0,
        "two, mean of 2, 5-way 1-shot": 1,
        "one, a, 5-way 5-shot": 0,
    }
