"""Cards of zoos from elsewhere: wrong keys, wrong models, and files that are none."""

import pytest
import yaml

from dfml.errors import DataError
from dfml.zoo.imported.card import read_card
from support.lab import SIDE, write_lab


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": []}, "models: .*at least 1"),
        ({"modles": []}, "modles: unknown key; did you mean `models`"),
        ({"input": {"side": SIDE, "mean": [0.1, 0.2]}}, r"input.mean: give one value, or 3 for rgb"),
        ({"input": None}, r"models.0.input: missing"),
    ],
)
def test_cards_with_wrong_keys(tmp_path, change, said):
    path = write_lab(tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"card\.yaml: .*{said}"):
        read_card(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "plain"}, "models.1.name: a second model is called `plain`"),
        ({"classes": ["a", "a", "b", "c", "d"]}, "models.0.classes: lists a more than once"),
        ({"classes": ["a"]}, "models.0.classes: .*at least 2"),
        ({"classes": ["caf\u00e9", "cafe\u0301", "b", "c", "d"]}, "models.0.classes: lists caf\u00e9 more than once"),
        ({"network": "nets.py"}, "models.0.network: give `file.py:function`"),
        ({"network": "program"}, "models.0.trusted: the file of an exported program can make torch run any code"),
        ({"weights": None}, "models.0.weights: missing"),
        ({"weights": "gone.pt"}, r"names files that are not there: .*gone\.pt"),
        ({"weights": "x" * 300}, "names files that are not there: .*xxx"),  # longer than a name can be
        ({"network": "gone.py:own"}, r"names files that are not there: .*gone\.py"),
        ({"answers_only": True}, "models.0.answers_only: goes with a function of your own"),
        ({"accuracy": 101}, "models.0.accuracy"),
    ],
)
def test_cards_with_wrong_models(tmp_path, change, said):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    card["models"][0] |= change
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(DataError, match=said) as error:
        read_card(path)
    assert "card.yaml" in str(error.value)


def test_a_wrong_model_does_not_make_its_list_too_short(tmp_path):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(card | {"models": [card["models"][0] | {"input": {"side": 3}, "classes": [1, 2]}]}))
    with pytest.raises(DataError, match=r"models\.0\.input\.side") as error:
        read_card(path)
    assert "at least" not in str(error.value).replace("greater than or equal", "")


@pytest.mark.parametrize("text", ["", "models: [", "- 1", "models: 3\nmodels: 4"])
def test_cards_that_are_no_yaml(tmp_path, text):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(DataError, match=r"card\.yaml"):
        read_card(tmp_path / "card.yaml")
    with pytest.raises(DataError, match="there is no card"):
        read_card(tmp_path / "other.yaml")


def test_a_class_whose_name_is_too_long_with_its_models_before_it(tmp_path):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    card["models"][1]["classes"][0] = "x" * 253
    path.write_text(yaml.safe_dump(card))
    assert read_card(path).models[1].classes[0] == "x" * 253
    path.write_text(yaml.safe_dump(card | {"label_space": "per_model"}))
    with pytest.raises(DataError, match=r"models\.1\.classes: with the model's name before it, 'plain/x+' has more"):
        read_card(path)
