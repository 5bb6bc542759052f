"""Which methods can run on which pool."""

import pytest

from dfml.catalogue import entry
from dfml.config.load import validate_config


@pytest.mark.parametrize("method", ["average", "ota", "dro"])
def test_fusion_needs_models_like_the_learner(method):
    two = {"conv4": {"models": 7}, "resnet": {"family": "resnet10"}}
    pools = {"single": {}, "both": {"networks": ["conv4", "resnet"]}}
    config = validate_config({"networks": two, "pools": pools, "methods": ["random", method]})
    assert config.inapplicable("single", method) is None
    assert config.inapplicable("both", method) == "averaging weights needs models of one architecture"
    assert {(cell.pool, cell.method) for cell in config.cells()} == {
        ("single", "random"),
        ("single", method),
        ("both", "random"),
    }


def test_the_best_model_must_be_one_like_the_learner():
    networks = {"conv4": {}, "wide": {"width": 64}, "resnet": {"family": "resnet10"}}
    pools = {"alike": {}, "both": {"networks": ["conv4", "wide"]}, "others": {"networks": ["wide", "resnet"]}}
    config = validate_config({"networks": networks, "pools": pools, "methods": ["random", "best"]})
    assert {cell.pool for cell in config.cells() if cell.method == "best"} == {"alike", "both"}
    assert config.inapplicable("others", "best") == "no model of the pool has the meta-learner's architecture"


def test_a_learner_may_be_a_resnet_and_takes_over_models_like_it():
    mapping = {
        "networks": {"conv4": {}, "resnet": {"family": "resnet10", "width": 8}},
        "learner": {"family": "resnet10", "width": 8},
        "pools": {"others": {}, "alike": {"networks": ["resnet"]}},
        "methods": ["random", "best", "average", "ota", "dro"],
    }
    config = validate_config(mapping)
    assert {cell.method for cell in config.cells() if cell.pool == "alike"} == set(mapping["methods"])
    assert {cell.method for cell in config.cells() if cell.pool == "others"} == {"random"}
    # Without that ReLU the models are other functions of the same weights.
    published = validate_config({**mapping, "zoo": {"stem_relu": False}})
    assert {cell.method for cell in published.cells() if cell.pool == "alike"} == {"random"}
    conv4 = validate_config({"zoo": {"stem_relu": False}, "methods": ["random", "best"]})
    assert {cell.method for cell in conv4.cells()} == {"random", "best"}


def test_models_that_probe_themselves_are_of_one_network_and_side():
    mapping = {
        "networks": {"conv4": {}, "wide": {"width": 64}},
        "datasets": {"mine": {"source": "folder", "path": "images", "side": 28}, "glyphs": {}, "icons_colour": {}},
        "pools": {
            "one": {"datasets": ["glyphs", "icons_colour"]},
            "sides": {"datasets": ["mine", "glyphs"]},
            "both": {"networks": ["conv4", "wide"]},
        },
        "methods": ["random", "tgr"],
    }
    on = {cell.pool for cell in validate_config(mapping).cells() if cell.method == "tgr"}
    assert on == {"one", "sides", "both"}
    config = validate_config({**mapping, "tgr": {"probe": "self"}})
    assert {cell.pool for cell in config.cells() if cell.method == "tgr"} == {"one"}
    for pool in ("sides", "both"):
        assert config.inapplicable(pool, "tgr") == "its probe `self` needs models of one network and image side"


@pytest.mark.parametrize("access", ["logits", "gradients", "weights"])
def test_what_a_pool_does_not_give_is_not_applicable(access):
    config = validate_config(
        {
            "pools": {"single": {"access": access}},
            "methods": ["random", "gen_ce", "gen_bn", "bidf_mkd", "bidf_mkd_black_box", "free"],
        }
    )
    run = {cell.method for cell in config.cells()}
    least = {"logits": {"random", "bidf_mkd_black_box"}, "gradients": {"gen_ce", "bidf_mkd"}}
    least["weights"] = {"gen_bn", "free"}
    levels = list(least)[: list(least).index(access) + 1]
    assert run == set.union(*(least[level] for level in levels))
    if access != "weights":
        assert config.inapplicable("single", "free") == (
            f"it needs the models' weights, the pool gives their {access} only"
        )


def test_a_start_from_weights_needs_them():
    start = {"pools": {"single": {"access": "gradients"}}, "bidf_mkd": {"start": "best_model"}}
    config = validate_config({**start, "methods": ["random", "bidf_mkd"]})
    assert "weights" in config.inapplicable("single", "bidf_mkd")
    assert entry("bidf_mkd").needed_access({}) == "gradients"
    assert entry("bidf_mkd").needed_access({"start": "best_model"}) == "weights"
