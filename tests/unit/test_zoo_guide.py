"""What docs/your_zoo.md says of a card and of a configuration is what they take."""

import re
import runpy
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from dfml.config.load import load_config
from dfml.errors import DfmlError
from dfml.zoo.imported.card import ModelCard, ZooCard, read_card
from dfml.zoo.imported.inputs import InputCard
from support.lab import classes, program, write_card, write_lab, write_networks
from support.lab import module as built
from support.markdown import read_markdown
from support.repository import ROOT

GUIDE = (ROOT / "docs" / "your_zoo.md").read_text(encoding="utf-8")
EXAMPLE = runpy.run_path(str(ROOT / "examples" / "your_zoo" / "from_card.py"))
CARD, CONFIGURATION = [block.text for block in read_markdown(GUIDE).blocks if block.language == "yaml"]


def test_the_card_of_the_guide_is_read(tmp_path):
    for name in ("networks.py", "birds.safetensors", "tools.pt", "stamps.pt2"):
        (tmp_path / name).touch()
    (tmp_path / "card.yaml").write_text(CARD)
    card = read_card(tmp_path / "card.yaml")
    assert [len(model.classes) for model in card.models] == [5, 8, 3]
    assert card.sides == (32, 64)


def test_every_key_is_explained():
    table = re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE)
    told = {key for cell in table for key in re.findall(r"`(\w+)`", cell)}
    assert told == set(ModelCard.model_fields)
    for key in (*InputCard.model_fields, *ZooCard.model_fields):
        assert f"`{key}`" in GUIDE


def test_the_configuration_of_the_guide_asks_for_learners_of_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.move(write_lab(tmp_path / "lab"), tmp_path / "lab" / "card.yaml")
    (tmp_path / "lab.yaml").write_text(CONFIGURATION)
    config = load_config([ROOT / "config" / "config.yaml", tmp_path / "lab.yaml"])
    assert config.experiment == "lab"
    assert {cell.pool for cell in config.cells()} == {"lab"}
    assert {cell.method for cell in config.cells()} == set(yaml.safe_load(CONFIGURATION)["methods"])


def services(folder):
    """A card of services alone."""
    write_networks(folder)
    facts = {"network": "nets.py:service", "answers_only": True, "classes": classes(5)}
    return write_card(folder, [{"name": name} | facts for name in ("one", "other")])


def programs(folder):
    """A card of exported programs alone."""
    folder.mkdir()
    return write_card(folder, [program(folder, "sealed", built("own", 5), classes=classes(5))])


def pictures(folder, count, images):
    """A folder of labelled pictures."""
    for label in range(count):
        (folder / f"class {label}").mkdir(parents=True)
        for number in range(images):
            pixels = np.full((8, 8, 3), (label, number, 0), np.uint8)
            Image.fromarray(pixels).save(folder / f"class {label}" / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("lab", "rows", "access"),
    [
        (write_lab, ["random", "zoo_features", "zoo_ensemble", "procedural_heads", "mixed_heads"], "weights"),
        (programs, ["random", "procedural_heads", "mixed_heads"], "weights"),
        (services, ["random", "procedural_heads"], "logits"),
    ],
)
def test_the_example_writes_what_the_models_can_teach(tmp_path, monkeypatch, capsys, lab, rows, access):
    monkeypatch.chdir(ROOT)
    card, written = lab(tmp_path / "lab"), tmp_path / "lab.yaml"
    EXAMPLE["main"](card, written, None)
    config = load_config([ROOT / "config" / "config.yaml", written])
    assert [(cell.pool, cell.method) for cell in config.cells() if cell.seed == 0] == [("lab", row) for row in rows]
    assert (config.pools["lab"].access, config.pools["lab"].evaluate) == (access, ("icons_colour",))
    assert f"lab/{rows[-1]}/1shot/seed0" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "images", "ways", "queries"), [(20, 20, 5, 15), (3, 4, 3, 3)])
def test_it_measures_on_pictures_of_ones_own(tmp_path, monkeypatch, count, images, ways, queries):
    monkeypatch.chdir(ROOT)
    own = pictures(tmp_path / "own", count, images)
    EXAMPLE["main"](write_lab(tmp_path / "lab"), tmp_path / "lab.yaml", own)
    config = load_config([ROOT / "config" / "config.yaml", tmp_path / "lab.yaml"])
    assert (config.ways, config.evaluation.queries) == (ways, queries)
    assert config.pools["lab"].evaluate == ("mine",)


@pytest.mark.parametrize(("count", "images"), [(1, 9), (4, 1)])
def test_too_few_pictures_are_told_in_a_line_and_nothing_is_written(tmp_path, count, images):
    own = pictures(tmp_path / "own", count, images)
    with pytest.raises(DfmlError, match=f"{count} classes of {images} images or more; at least 2 classes of 2"):
        EXAMPLE["main"](write_lab(tmp_path / "lab"), tmp_path / "lab.yaml", own)
    assert not (tmp_path / "lab.yaml").exists()


def test_a_configuration_that_is_there_stays(tmp_path):
    (tmp_path / "lab.yaml").write_text("experiment: mine")
    with pytest.raises(DfmlError, match="there already"):
        EXAMPLE["main"](write_lab(tmp_path / "lab"), tmp_path / "lab.yaml", None)
    assert (tmp_path / "lab.yaml").read_text() == "experiment: mine"
