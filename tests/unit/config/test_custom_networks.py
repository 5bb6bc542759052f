"""The key `custom_networks`: what is said of names and files, and which networks are tried before the first job."""

import pytest

from dfml.config.load import validate_config
from dfml.config.own_files import trials
from support.configuration import problems
from support.own_network import EXAMPLE

OWN = {"family": "wide", "width": 4, "options": {"blocks": 2}}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "wide.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    return str(path)


def test_zoo_learner_and_variants_may_be_of_it(file):
    config = validate_config(
        {
            "custom_networks": {"wide": file},
            "networks": {"conv4": {}, "own": OWN},
            "learner": {"family": "wide"},
            "pools": {"single": {"networks": ["conv4", "own"]}},
            "variants": {"free-deep": {"learner": {"options": {"blocks": 3}}}},
            "methods": ["free"],
        }
    )
    assert config.learner_of("free").options == {} and config.learner_of("free-deep").options == {"blocks": 3}
    assert config.networks["own"].architecture() != config.learner.architecture()


def test_fusion_and_the_best_model_take_a_learner_with_the_same_options(file):
    mapping = {
        "custom_networks": {"wide": file},
        "networks": {"own": OWN},
        "learner": OWN,
        "pools": {"single": {"networks": ["own"]}},
        "methods": ["random", "average", "dro", "best", "ota"],
    }
    config = validate_config(mapping)
    assert {cell.method for cell in config.cells()} == {"random", "average", "dro", "best"}
    assert config.inapplicable("single", "ota") == (
        "it knows the layers of conv4, resnet10, resnet18, not those of `wide`"
    )
    other = validate_config({**mapping, "learner": {**OWN, "options": {"blocks": 3}}})
    assert {cell.method for cell in other.cells()} == {"random"}


def test_what_is_wrong_with_a_name_or_file_is_said(file, tmp_path):
    texts = {"broken": "class Network(:", "empty": "Network = 1", "lost": "import absent_helper\nNetwork = Options = 1"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(f"{text}\n", encoding="utf-8")
    paths = {name: f"{tmp_path}/{name}.py" for name in texts}
    assert problems({"custom_networks": {"conv4": file, "gone": "gone.py", **paths}}) == [
        f"custom_networks.broken: `{paths['broken']}` is not a Python file that can be read: "
        "invalid syntax (broken.py, line 1)",
        "custom_networks.conv4: `conv4` is a network family of this package; choose another name",
        f"custom_networks.empty: `{paths['empty']}` has no `Options`",
        "custom_networks.gone: there is no file `gone.py` (a path is taken from the folder that the command runs in)",
        f"custom_networks.lost: `{paths['lost']}` imports what is neither installed nor in its folder: absent_helper "
        "in lost.py; install it or put it there",
    ]
    (line,) = problems({"custom_networks": {"wide": file}, "networks": {"conv4": {"family": "wife"}}})
    assert line.startswith("networks.conv4.family: `wife` is no network family; did you mean `wide`?")


@pytest.mark.parametrize(
    "text", ["from elsewhere_beside import *", "from elsewhere_beside import Net as Network, Options"]
)
def test_classes_may_come_from_elsewhere(tmp_path, text):
    (tmp_path / "elsewhere_beside.py").write_text("", encoding="utf-8")
    (tmp_path / "wide.py").write_text(f"{text}\n", encoding="utf-8")
    assert validate_config({"custom_networks": {"wide": str(tmp_path / "wide.py")}})


def test_what_is_tried_is_what_something_uses(file):
    mapping = {
        "custom_networks": {"wide": file},
        "datasets": {"mine": {"source": "folder", "path": "images", "side": 28}, "glyphs": {}},
        "networks": {"conv4": {}, "own": OWN, "spare": OWN},
        "learner": {"family": "wide"},
        "pools": {"both": {"datasets": ["mine", "glyphs"], "networks": ["own", "conv4"]}},
        "variants": {"free-plain": {"learner": {"family": "conv4"}}},
        "methods": ["random", "free"],
    }
    told = trials(validate_config(mapping))
    assert told["files"] == {"wide": file}
    tried = [(one["key"], one["network"]["options"], one["side"], one["sides"]) for one in told["networks"]]
    assert tried == [
        ("networks.own", {"blocks": 2}, 28, [28]),
        ("networks.own", {"blocks": 2}, 32, [32]),
        ("learner", {}, None, [28, 32]),
    ]
    told = trials(validate_config({**mapping, "learner": {"family": "wide", "side": 24}}))
    assert [(one["key"], one["side"], one["sides"]) for one in told["networks"]][-1] == ("learner", 24, [24])
    assert trials(validate_config({"custom_networks": {"wide": file}}))["networks"] == []
