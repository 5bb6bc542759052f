"""What docs/your_zoo.md says of a card and of a configuration is what they take."""

import re
import shutil

import yaml

from dfml.config.load import load_config
from dfml.zoo.imported.card import InputCard, ModelCard, ZooCard, read_card
from support.lab import write_lab
from support.markdown import read_markdown
from support.repository import ROOT

GUIDE = (ROOT / "docs" / "your_zoo.md").read_text(encoding="utf-8")
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
