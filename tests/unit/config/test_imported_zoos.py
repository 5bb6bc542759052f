"""Pools with zoos from elsewhere: what is asked for, what cannot run on them, and what is wrong with their keys."""

import pytest
import yaml

from dfml.catalogue import METHODS
from dfml.config.load import validate_config
from dfml.errors import ConfigError
from support.lab import write_lab


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return write_lab(tmp_path_factory.mktemp("lab"), service={})


@pytest.fixture(scope="module")
def modules_card(card, tmp_path_factory):
    """The same without the service."""
    told = yaml.safe_load(card.read_text())
    path = card.with_name("modules.yaml")
    path.write_text(yaml.safe_dump(told | {"models": told["models"][:-1]}))
    return path


def mapping(card, pool=None, **more):
    told = {"datasets": [], "zoos": ["lab"], "evaluate": ["icons_colour"], "access": "logits"} | (pool or {})
    return {
        "datasets": {"icons_colour": {}, "emoji": {}},
        "zoos": {"lab": {"card": str(card)}},
        "pools": {"lab": told},
        "methods": ["random", "procedural_heads"],
        "procedural_heads": {"start": "random"},
        **more,
    }


@pytest.mark.parametrize("said", [None, False, True])
def test_images_of_imported_models_keep_their_colours_unless_the_owner_says_otherwise(modules_card, said):
    zoo = {"card": str(modules_card), **({} if said is None else {"recolour": said})}
    told = {"access": "weights", "datasets": ["icons_colour"]}
    free = {"methods": ["free"], "free": {"replay": {"recolour": True}}}
    config = validate_config(mapping(modules_card, told, zoos={"lab": zoo}, **free))
    assert config.options("free", "lab")["replay"]["recolour"] is bool(said)


def test_models_sides_and_data_sets_of_a_pool(modules_card):
    config = validate_config(mapping(modules_card, {"access": "weights"}))
    facts = config.facts("lab")
    assert (facts.models, facts.networks, set(facts.sides), facts.datasets) == (4, (), {32, 34}, ("icons_colour",))
    both = {"datasets": ["emoji"], "access": "weights"}
    facts = validate_config(mapping(modules_card, both, zoo={"models": 7})).facts("lab")
    assert (facts.models, len(facts.networks), facts.datasets) == (11, 1, ("emoji", "icons_colour"))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"unlabelled_heads"}))
def test_methods_that_want_more_are_told_before_anything_runs(modules_card, method):
    rows = ["random", *{method} - {"random"}]
    given = mapping(modules_card, {"access": "weights"}, methods=rows, zoo_ensemble={"models": 3})
    reason = validate_config(given).inapplicable("lab", method)
    if METHODS[method].imported == "none":
        assert reason == "it wants more of a model than the imported ones of `lab` have"
    elif METHODS[method].same_architecture or method == "best":
        assert "architecture" in reason
    else:
        assert reason is None


def test_features_are_counted_of_the_models_that_give_them(modules_card):
    given = mapping(modules_card, {"access": "weights"}, methods=["zoo_ensemble"], zoo_ensemble={"models": 4})
    with pytest.raises(
        ConfigError, match=r"zoo_ensemble\.models: 4 different models, but pool `lab` has 3; use fewer$"
    ):
        validate_config(given)
    told = yaml.safe_load(modules_card.read_text())
    for model in told["models"]:
        model.update({} if model["network"] == "program" else {"features": "none"})
    closed = modules_card.with_name("closed.yaml")
    closed.write_text(yaml.safe_dump(told))
    config = validate_config(
        given | {"zoos": {"lab": {"card": str(closed)}}, "methods": ["random", "zoo_ensemble", "zoo_features"]}
    )
    for method in ("zoo_features", "zoo_ensemble"):
        assert config.inapplicable("lab", method) == "no model of `lab` gives features"


@pytest.mark.parametrize("access", ["gradients", "weights"])
def test_a_zoo_of_services_answers_and_nothing_more(card, access):
    told = yaml.safe_load(card.read_text())
    path = card.with_name("services.yaml")
    path.write_text(yaml.safe_dump(told | {"models": told["models"][-1:]}))
    assert {cell.method for cell in validate_config(mapping(path)).cells()} == {"random", "procedural_heads"}
    with pytest.raises(ConfigError, match=r"pools\.lab\.access: its models give their answers only; use `logits`"):
        validate_config(mapping(path, {"access": access}))
    assert validate_config(mapping(path, {"access": access, "datasets": ["emoji"]})).cells()


def test_a_service_among_modules_keeps_no_method_from_these(card, modules_card):
    rows = {"methods": ["random", "free", "mixed_heads", "gen_bn", "zoo_features"]}
    cells = [
        {cell.method for cell in validate_config(mapping(path, {"access": "weights"}, **rows)).cells()}
        for path in (card, modules_card)
    ]
    assert cells[0] == cells[1] == set(rows["methods"])


@pytest.mark.parametrize(
    ("pool", "more", "said"),
    [
        ({"zoos": ["lap"]}, {}, r"pools\.lab\.zoos: `lap` is not under `zoos`; did you mean `lab`"),
        ({"zoos": []}, {}, r"pools\.lab\.datasets: names no zoo"),
        ({"evaluate": ["icon_colour"]}, {}, r"pools\.lab\.evaluate: `icon_colour` is not under `datasets`"),
        ({"zoos": ["lab", "lab"]}, {}, r"pools\.lab\.zoos: lists lab more than once"),
        ({}, {"zoos": {"lab": {"card": "gone.yaml"}}}, r"zoos\.lab\.card: there is no card gone\.yaml"),
        ({}, {"zoos": {"lab": {}}}, r"zoos\.lab\.card: missing"),
        ({}, {"zoos": {"lab": {"card": "~nobody/card.yaml"}}}, r"zoos\.lab\.card: "),
        ({"datasets": ["emoji"], "networks": []}, {}, r"pools\.lab\.networks: missing"),
    ],
)
def test_wrong_keys(card, pool, more, said):
    with pytest.raises(ConfigError, match=said):
        validate_config(mapping(card, pool, **more))


def test_a_zoo_may_not_have_the_name_of_a_data_set(card):
    given = mapping(card) | {"zoos": {"emoji": {"card": str(card)}}}
    given["pools"]["lab"]["zoos"] = ["emoji"]
    with pytest.raises(ConfigError, match=r"zoos\.emoji: `emoji` is a data set too"):
        validate_config(given)


def test_a_wrong_card_is_told_with_the_other_problems(card, tmp_path):
    bad = tmp_path / "card.yaml"
    bad.write_text("models: []\n")
    with pytest.raises(ConfigError) as error:
        validate_config(mapping(bad, seeds=[]))
    assert "zoos.lab.card" in str(error.value) and "seeds" in str(error.value)
