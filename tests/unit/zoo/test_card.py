"""Cards of zoos from elsewhere: wrong keys, wrong models, and files that are none."""

import pytest
import yaml

from dfml.errors import DataError
from dfml.zoo.imported.card import read_card
from support.lab import MEAN, SIDE, STD, pool_of, taken, write_lab


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": []}, "models: .*at least 1"),
        ({"modles": []}, "modles: unknown key; did you mean `models`"),
        ({"input": {"side": SIDE, "mean": [0.1, 0.2]}}, r"input.mean: give one value, or 3 for rgb"),
        ({"input": None}, r"models.0.input: missing"),
        ({"models": [3]}, "models.0: has keys of its own, such as `name: birds`"),
        ({"input": 32}, r"input: has keys of its own, such as `side: 32`"),
        ({"input": {"side": SIDE, "mean": [123.7, 116.3, 103.5]}}, r"input.mean: .* say `largest: 255`"),
        ({"input": {"side": SIDE, "largest": 255, "mean": 0.5}}, r"input.mean: .* say `largest: 1`"),
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
        ({"accuracy": 0.815}, r"models.0.accuracy: is in percent; write 81.5 instead of 0.815 \(model `birds`\)"),
        ({"name": "ResNet-18"}, "models.0.name: begins with a lower-case letter"),
        ({"classes": [True, False, "b", "c", "d"]}, "models.0.classes.0: is a truth value to YAML.* in quotes"),
        ({"classes": [1, 8, "b", "c", "d"]}, "models.0.classes.0: is a number to YAML, .* in quotes"),
        ({"classes": ["crane", "crane", "b", "c", "d"]}, "lists crane more than once; .* rename one"),
        ({"features": ""}, "models.0.features"),
        ({"input": {"channels": "bgr"}}, "models.0.input.mean: missing; with other `channels` than the zoo's"),
        ({"input": {"largest": 255, "mean": 0}}, "models.0.input.std: missing; with other `largest` than the zoo's"),
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


def test_what_a_model_says_of_its_input_is_laid_over_the_zoos(tmp_path):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    card["models"][0] |= {"input": {"side": 48}}
    card["models"][1] |= {"input": {"channels": "bgr", "mean": 0.5, "std": [0.1, 0.2, 0.3]}}
    path.write_text(yaml.safe_dump(card))
    read = read_card(path)
    first, second = (read.input_of(model) for model in read.models[:2])
    assert (first.side, list(first.mean), list(first.std)) == (48, MEAN, STD)
    assert (second.side, second.channels, second.mean, second.std) == (SIDE, "bgr", (0.5,), (0.1, 0.2, 0.3))


def test_classes_may_stand_in_a_file(tmp_path):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    names = card["models"][0].pop("classes")
    card["models"][0] |= {"classes_file": "names.txt"}
    path.write_text(yaml.safe_dump(card))
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*names, ""]).encode())
    read = read_card(path)
    assert list(read.models[0].classes) == names
    assert tmp_path / "names.txt" in read.files(tmp_path)
    folder = tmp_path / "zoo"
    assert "names.txt" in taken(path, folder).files
    (tmp_path / "names.txt").write_text("\n".join(reversed(names)))
    with pytest.raises(DataError, match=r"is not as it was when .* was imported"):
        pool_of(folder)


@pytest.mark.parametrize(
    ("content", "facts", "said"),
    [
        (None, {}, r"models.0.classes_file: no text with a name on each line \(.*names\.txt"),
        (b"\xff\xfe\x00", {}, "models.0.classes_file: no text with a name on each line"),
        (b"a\nb\n\nc\nd", {}, "models.0.classes.2: is empty; every output has a name"),
        (b"a\nb\nc\nd\na", {}, "models.0.classes: lists a more than once"),
        (b"a\nb", {"classes": ["a", "b"]}, "models.0.classes_file: `classes` has names as well"),
    ],
)
def test_files_that_hold_no_classes(tmp_path, content, facts, said):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    del card["models"][0]["classes"]
    card["models"][0] |= {"classes_file": "names.txt"} | facts
    path.write_text(yaml.safe_dump(card))
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_card(path)


@pytest.mark.parametrize("network", ["timm:resnet50.a1_in1k", "timm:vit_tiny_patch16_224"])
def test_names_of_timm_may_have_dots(tmp_path, network):
    path = write_lab(tmp_path)
    card = yaml.safe_load(path.read_text())
    card["models"][0] |= {"network": network}
    path.write_text(yaml.safe_dump(card))
    assert read_card(path).models[0].library == "timm"


def test_a_folder_is_no_card(tmp_path):
    with pytest.raises(DataError, match="is a folder; name the card in it"):
        read_card(tmp_path)


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
