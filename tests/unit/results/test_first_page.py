"""The report's first page: the short table and the recovered images with the right names."""

import re

import numpy as np
import pytest

from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.artefacts.zoo import ZooManifest
from dfml.results.collect import collect
from dfml.results.figures.recovered import recovered_figure
from dfml.results.first_page import write_first_page
from dfml.results.grid import read_grid
from dfml.results.tables.short import short_table
from support.manifests import imported_zoo, zoo
from support.results import write_demo


def manifest(**changes) -> ZooManifest:
    content = zoo(**changes)
    return ZooManifest.model_validate({k: v for k, v in content.items() if k not in ("format", "version")})


def shown_methods(table) -> list[str]:
    return [row[2].text for row in table.sections[0].rows]


@pytest.mark.parametrize(
    ("methods", "shown"),
    [
        (
            ["random", "best", "average", "free", "supervised_maml"],
            ["Random", "Best single", "FREE", "Supervised MAML"],
        ),
        (["average", "free_official"], ["Average", "FREE (official)"]),
        (["random", "twin", "average"], ["Random", "twin"]),
        (["zoo_ensemble", "average", "mixed_heads"], ["Zoo ensemble", "Heads on both"]),
    ],
)
def test_the_short_table_has_the_named_methods_and_a_users_own(tmp_path, methods, shown):
    grid = [("single", method, None) for method in methods]
    made_up = [("single", "best" if method == "twin" else method, None) for method in methods]
    frame = collect(write_demo(tmp_path, grid=made_up, seeds=(0, 1)))
    if "twin" in methods:
        frame["method"] = frame["method"].replace("best", "twin")
    assert shown_methods(short_table(frame, read_grid(grid), ways=5, shots=[1])) == shown


def write_bank(path, written):
    pixels = np.zeros((len(written), 1, 2, 3, 8, 8), dtype=np.uint8)
    for label in range(len(written)):
        pixels[label] = label + 1
    np.savez(path, pixels=pixels, written=np.array(written))
    return path


@pytest.mark.parametrize("label_space", ["global", "per_model"])
def test_images_stand_under_their_own_class(tmp_path, label_space):
    own = manifest()
    if label_space == "global":
        names = own.class_names
    else:
        names = [own.class_names[label] for model in own.models for label in model.classes]
    written = [label % 2 for label in range(len(names))]  # every other class was never recovered
    figure = recovered_figure(write_bank(tmp_path / "bank.npz", written), [own], label_space=label_space)
    titled = [panel for panel in figure.axes if panel.get_title()]
    assert len(titled) == min(12, sum(written))
    for panel in titled:
        label = int(panel.images[0].get_array()[0, 0, 0]) - 1
        assert written[label] == 1
        assert panel.get_title().rstrip("…") == names[label][: len(panel.get_title().rstrip("…"))]


def test_images_of_imported_models_stand_behind_those_of_trained_ones(tmp_path):
    own, lab = manifest(), ImportedZooManifest.of(imported_zoo(), tmp_path)
    names = [*own.class_names, *lab.class_names]
    written = [0] * len(own.class_names) + [1] * len(lab.class_names)
    figure = recovered_figure(write_bank(tmp_path / "bank.npz", written), [own, lab], label_space="global")
    assert [panel.get_title() for panel in figure.axes if panel.get_title()] == names[len(own.class_names) :]


def test_a_name_with_dollars_is_no_formula(tmp_path):
    own = manifest()
    odd = own.model_copy(update={"class_names": ["$x^$", *own.class_names[1:]]})
    figure = recovered_figure(write_bank(tmp_path / "bank.npz", [1]), [odd], label_space="global")
    assert figure.axes[0].get_title() == r"\$x^\$"
    figure.savefig(tmp_path / "drawn.png")


def test_without_a_bank_it_says_so():
    (panel,) = recovered_figure(None, [], label_space="global").axes
    assert "no images were recovered" in panel.texts[0].get_text()


def test_the_page_needs_nothing_beside_it(tmp_path):
    grid = [("single", "free", None)]
    table = short_table(collect(write_demo(tmp_path, grid=grid)), read_grid(grid), ways=5, shots=[1])
    for stem in ("main", "recovered"):
        (tmp_path / f"{stem}.svg").write_text("<svg/>")
    write_first_page(table, tmp_path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r'src="(\w+):', page) == ["data", "data"]
    assert "FREE" in page
