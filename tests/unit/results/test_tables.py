"""Tables: the right numbers in the right cells, reasons where there are none, stable bytes."""

import re
from statistics import stdev

import pandas as pd
import pytest

from dfml.catalogue import METHODS
from dfml.errors import DfmlError
from dfml.results.collect import collect_records, read_results_csv
from dfml.results.labels import method_label, real_images_note
from dfml.results.published import DECLARED
from dfml.results.stage import TABLES, Measurements, make_tables
from support.manifests import imported_zoo, inversion, models, result, speed, write, zoo
from support.results import GRID, write_demo, write_record


def build(folder, records, *, grid=GRID, shots=(1,), zoos=(), imported=(), inversions=(), speeds=(), name="tables"):
    collect_records(records, folder / "results.csv")
    make_tables(
        Measurements.read(folder / "results.csv", records, grid=grid, ways=5, shots=list(shots)),
        zoos=zoos,
        imported=imported,
        inversions=inversions,
        speeds=speeds,
        published=DECLARED,
        output=folder / name,
    )
    return folder / name


def rows_of(markdown: str, section: str = "") -> dict[tuple[str, str], list[str]]:
    """Cells of a Markdown table by (first column carried down, method)."""
    body = markdown.split(section, 1)[1] if section else markdown
    rows, pool, seen = {}, "", False
    for line in body.splitlines():
        if not line.startswith("|"):
            if seen:
                break
            continue
        seen = True
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        pool = cells[0] or pool
        rows[pool, cells[2]] = cells[3:]
    return rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return build(
        folder,
        write_demo(folder),
        zoos=[write(folder, f"zoo{s}.json", zoo(seed=s, models=models(60.0 + s))) for s in (0, 1)],
        inversions=[
            write(folder, f"i{pool}{s}.json", inversion(pool=pool, seed=s, teacher_ce=0.2 + 0.2 * s, **changes))
            for pool, changes in [
                (
                    "multi_architecture",
                    {"independent_accuracy": None, "independent_reason": "none was trained"},
                ),
                ("single", {}),
            ]
            for s in (0, 1)
        ],
        speeds=[write(folder, "inversion/single/speed.json", speed())],
    )


def test_every_table_in_every_format(demo):
    expected = {f"{stem}.{suffix}" for stem in TABLES for suffix in ("csv", "md", "tex", "html")}
    assert {path.name for path in demo.iterdir()} == expected


def test_main_cell_known_answer(tmp_path):
    pairs = [(40.0, 0.3), (44.0, 0.4), (42.0, 1.2)]
    records = [
        write_record(tmp_path, seed=seed, results=[result(accuracy=accuracy, ci95=ci)])
        for seed, (accuracy, ci) in enumerate(pairs)
    ]
    tables = build(tmp_path, records, grid=[("single", "free", None)])
    # √(0.09 + 0.16 + 1.44) / 3 = 1.3 / 3; sample deviation of 40, 44, 42 is 2
    assert rows_of((tables / "main.md").read_text())["single", "FREE"] == ["42.00 ± 0.43", "2.00 (3)"]
    assert r"42.00 $\pm$ 0.43 & 2.00 (3)" in (tables / "main.tex").read_text()
    [row] = pd.read_csv(tables / "main.csv").to_dict("records")
    assert (row["accuracy"], row["seed_sd"], row["seeds"]) == (42.0, 2.0, 3)
    assert row["ci95"] == pytest.approx(1.3 / 3)


def test_main_groups_methods_by_pool_in_grid_order(demo):
    text = (demo / "main.md").read_text()
    printed = [(pool, name.removesuffix(" (b)")) for pool, name in rows_of(text, "support (")][2:]
    assert printed == [(pool, METHODS[method].label) for pool, method, *_ in GRID]


def test_a_section_per_batch_norm_and_a_column_per_rule(demo):
    text = (demo / "main.md").read_text()
    transductive, support = rows_of(text, "transductive ("), rows_of(text, "support (")
    assert transductive["single", "Zoo features"] == [
        "–",
        "–",
        "50.20 ± 0.38",
        "0.66 (3)",
        "54.20 ± 0.38",
        "0.66 (3)",
    ]
    assert support["single", "Zoo features"][2] == "47.20 ± 0.38"


def test_a_cell_that_cannot_run_says_why_and_one_that_nobody_asked_for_has_no_row(demo):
    text = (demo / "main.md").read_text()
    rows = rows_of(text, "transductive (")
    assert rows["multi_architecture", "Average"] == ["n/a (c)", "–"] * 3
    assert ("multi_architecture", "Zoo ensemble") not in rows
    assert "- (c) n/a: averaging weights needs models of one architecture" in text
    data = pd.read_csv(demo / "main.csv", keep_default_na=False)
    missing = data[data["status"] != "run"]
    assert missing[["method", "status", "accuracy"]].values.tolist() == [["average", "not applicable", ""]]


def test_a_cell_without_a_record_says_not_run(tmp_path):
    grid = [("single", "free", None), ("single", "random", None)]
    tables = build(tmp_path, [write_record(tmp_path)], grid=grid, shots=(1, 5))
    text = (tables / "main.md").read_text()
    assert rows_of(text, "1-shot")["single", "Random"] == ["not run", "–"]
    assert rows_of(text, "5-shot")["single", "FREE"] == ["not run", "–"]


def test_reader_of_real_images_is_marked_in_both_accuracy_tables(demo):
    for stem in ("main", "main_by_seed"):
        text = (demo / f"{stem}.md").read_text()
        assert "Supervised MAML (b)" in text
        assert "- (b) reads the real meta-train images" in text
        assert r"Supervised MAML\textsuperscript{b}" in (demo / f"{stem}.tex").read_text()


def test_no_number_that_is_not_in_the_results(demo):
    frame = read_results_csv(demo.parent / "results.csv")
    known = {f"{row.accuracy:.2f} ± {row.ci95:.2f}" for row in frame.itertuples()}
    printed = set(re.findall(r"\d+\.\d+ ± \d+\.\d+", (demo / "main_by_seed.md").read_text()))
    assert printed == known


def test_by_seed_rows_have_no_links_but_their_records_are_named(demo):
    text = (demo / "main_by_seed.md").read_text()
    assert "](" not in text
    assert "- The record that a row's numbers come from is named in results.csv." in text
    records = set(read_results_csv(demo.parent / "results.csv")["record"])
    assert records
    assert all((demo.parent / record).is_file() for record in records)


def test_several_data_sets_have_rows_of_their_own_and_a_mean(tmp_path):
    both = [result(accuracy=40.0, ci95=3.0), result(dataset="emoji", accuracy=50.0, ci95=4.0)]
    tables = build(tmp_path, [write_record(tmp_path, results=both)], grid=[("single", "free", None)])
    lines = [line for line in (tables / "main.md").read_text().splitlines() if "FREE" in line]
    assert [re.sub(r"\s+", " ", line) for line in lines] == [
        "| single | emoji | FREE | 50.00 ± 4.00 | – (1) |",
        "| single | icons_colour | FREE | 40.00 ± 3.00 | – (1) |",
        "| single | mean of 2 | FREE | 45.00 ± 2.50 | – (1) |",
    ]


def test_zoo_table_summarises_models_over_seeds(demo):
    data = pd.read_csv(demo / "zoo.csv", dtype={"seed": str})
    last = data.iloc[-1]
    assert (last["seed"], last["models"]) == ("all", 2)
    assert (last["accuracy_mean"], last["accuracy_min"], last["accuracy_max"]) == (60.5, 60.0, 61.0)


@pytest.mark.parametrize(("told", "shown"), [((70.0, 90.0, None), ["80.0", "70.0", "90.0"]), ((None,), ["–"] * 3)])
def test_an_imported_zoo_has_a_row_of_what_its_owner_says(tmp_path, told, shown):
    (entry,) = imported_zoo()["models"]
    kinds = ("module", "module", "program")
    own = [
        entry | {"index": place, "name": f"m{place}", "accuracy": accuracy, "kind": kinds[place]}
        for place, accuracy in enumerate(told)
    ]
    paths = [write(tmp_path, "zoo.json", imported_zoo(models=own))]
    text = (build(tmp_path, write_demo(tmp_path), imported=paths) / "zoo.md").read_text()
    row = [cell.strip() for cell in next(line for line in text.splitlines() if "| lab" in line).split("|")[1:-1]]
    network = "2 modules, 1 program" if len(told) > 1 else "1 module"
    assert row[:5] == ["lab", "imported", network, "–", str(len(told))]
    assert row[5:8] == shown
    assert "Of imported zoos it is what their owners say." in text


def test_inversion_table_gives_reasons_and_means(demo):
    text = (demo / "inversion.md").read_text()
    assert "n/a (a)" in text
    assert "- (a) n/a: none was trained" in text
    data = pd.read_csv(demo / "inversion.csv", dtype={"seed": str})
    assert data["pool"].tolist() == ["single"] * 3 + ["multi_architecture"] * 3
    assert data.loc[data["seed"] == "mean", "teacher_ce"].tolist() == pytest.approx([0.3, 0.3])


def test_images_that_their_own_models_do_not_recognise_come_with_advice(tmp_path):
    records = [write_record(tmp_path)]
    grid = [("single", "free", None)]
    for name, accuracy in (("poor", 79.9), ("fine", 80.0)):
        paths = [write(tmp_path, f"{name}.json", inversion(teacher_accuracy=accuracy))]
        text = (build(tmp_path, records, grid=grid, inversions=paths, name=name) / "inversion.md").read_text()
        assert ("Of five (single) the models themselves recognise less than 80" in text) == (name == "poor")


def test_speed_table_compares_medians_with_the_first_arm(demo):
    data = pd.read_csv(demo / "speed.csv")
    assert data["seconds_median"].tolist() == [1.1, 11.0, 44.0]
    assert data["times_first"].tolist() == pytest.approx([1.0, 10.0, 40.0])
    # Three tasks: t(0.975, 2) = 4.3027.
    seconds = speed()["arms"][0]["seconds_per_task"]
    assert data["seconds_t95"][0] == pytest.approx(4.3027 * stdev(seconds) / 3**0.5, rel=1e-4)


def test_cost_table_has_the_price_of_an_answer(demo):
    data = pd.read_csv(demo / "cost.csv").set_index(["pool", "method"])
    assert data.loc[("single", "zoo_ensemble"), "inference_macs"] == 110_000_000
    free = data.loc[("single", "free"), ["train_seconds", "teacher_passes", "bank_seconds", "bank_passes"]]
    assert free.tolist() == [94.0, 4000, 20.0, 1500]
    printed = next(line for line in (demo / "cost.md").read_text().splitlines() if "| FREE " in line)
    assert [cell.strip() for cell in printed.split("|")[6:10]] == ["9000", "4000", "20.0", "1500"]
    assert pd.isna(data.loc[("single", "zoo_ensemble"), "train_episodes"])
    assert data.loc[("multi_architecture", "average"), "status"] == "not applicable"


def test_tables_without_artefacts_say_so(tmp_path):
    tables = build(tmp_path, [write_record(tmp_path)], grid=[("single", "free", None)])
    assert "No zoo was trained" in (tables / "zoo.md").read_text()
    assert "No image was recovered" in (tables / "inversion.md").read_text()
    assert "No speed comparison was run" in (tables / "speed.md").read_text()


def test_same_input_same_bytes(tmp_path):
    records = write_demo(tmp_path)
    first, second = (build(tmp_path, records, name=name) for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_results_outside_the_grid_are_refused(tmp_path):
    with pytest.raises(DfmlError, match="single / free"):
        build(tmp_path, [write_record(tmp_path)], grid=[("single", "random", None)])


class TestTex:
    @pytest.mark.parametrize("stem", TABLES)
    def test_environments_are_balanced(self, demo, stem):
        text = (demo / f"{stem}.tex").read_text()
        open_ones = []
        for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
            if verb == "begin":
                open_ones.append(name)
            else:
                assert open_ones.pop() == name
        assert open_ones == []

    @pytest.mark.parametrize("stem", TABLES)
    def test_every_row_fills_its_columns(self, demo, stem):
        for tabular in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", (demo / f"{stem}.tex").read_text(), re.S):
            width = len(re.match(r"\{([lr]+)\}", tabular)[1])
            rows = [line for line in tabular.splitlines() if line.endswith(r"\\")]
            for row in rows:
                spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
                cells = len(re.findall(r"(?<!\\)&", row)) + 1
                assert cells - len(spans) + sum(spans) == width

    @pytest.mark.parametrize("stem", TABLES)
    def test_nothing_that_tex_would_misread(self, demo, stem):
        text = re.sub(r"\$[^$]*\$", "", (demo / f"{stem}.tex").read_text())
        text = re.sub(r"\\label\{[^}]*\}", "", text)
        assert not re.search(r"(?<!\\)[%#_^]", text)
        assert text.isascii()


def test_a_method_that_the_catalogue_does_not_know_keeps_its_name():
    assert (method_label("mine"), real_images_note("mine")) == ("mine", "")


def test_what_reads_the_real_meta_train_images_is_marked_so():
    noted = {name: note for name in METHODS if (note := real_images_note(name))}
    assert noted.pop("unlabelled_heads") == "reads unlabelled real images of another domain"
    assert noted == dict.fromkeys(
        ["supervised_maml", "supervised_anil", "supervised_protonet"], "reads the real meta-train images"
    )
