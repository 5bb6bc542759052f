"""Variants: further rows that differ from a method in some settings."""

import pytest

from dfml.catalogue import METHODS, entry, section_key
from dfml.config.load import validate_config
from dfml.config.root import changed_beside
from dfml.errors import ConfigError

GIVEN = {
    "methods": ["random", "free", "mixed_heads", "free_heads"],
    "free": {"iterations": 7, "bell": {"fast_steps": 3}},
    "variants": {
        "free-off": {"bell": {"mode": "off"}},
        "free-fifty": {"inversion": {"five": {"steps": 50}}},
        "mixed_heads-fifty": {"inversion": {"five": {"steps": 50}}, "temperature": 2.0},
        "free_heads-fifty": {"inversion": {"five": {"steps": 50}}},
        "mixed_heads-wide": {"learner": {"width": 64}},
        "bank_heads-half": {"procedural": 0.5},
    },
}


def test_each_stands_after_its_method_and_before_the_next_one():
    assert validate_config(GIVEN).all_methods == (
        *("random", "free", "free-off", "free-fifty", "mixed_heads", "mixed_heads-fifty", "mixed_heads-wide"),
        *("free_heads", "free_heads-fifty", "bank_heads-half"),
    )


def test_only_what_it_changes_is_another():
    config = validate_config(GIVEN)
    plain, off = config.options("free"), config.options("free-off")
    assert off == {**plain, "bell": {**plain["bell"], "mode": "off"}}
    assert (off["iterations"], off["bell"]["fast_steps"]) == (7, 3)
    assert config.options("free-fifty")["five"] == {
        **plain["five"],
        "steps": 50,
        "outer_learning_rate": pytest.approx(10 * plain["five"]["outer_learning_rate"]),  # null: `steps` times the rate
    }
    assert config.learner_of("mixed_heads-wide").width == 64
    assert config.learner_of("mixed_heads").width == config.learner.width == config.learner_of("free-off").width


def test_a_profile_in_a_variant_starts_from_its_values():
    config = validate_config({"methods": ["free"], "variants": {"free-official": {"profile": "official"}}})
    assert config.options("free-official") == {**config.options("free_official"), "iterations": 100}


def test_banks_are_shared_by_name():
    config = validate_config(GIVEN)
    banks = {method: config.bank_of(method) for method in config.all_methods if method != "random"}
    assert {name: bank for name, bank in banks.items() if bank != "five"} == dict.fromkeys(
        ["free-fifty", "mixed_heads-fifty", "free_heads-fifty"], "five-fifty"
    )


def test_it_begins_with_the_learner_of_its_namesake():
    config = validate_config(GIVEN)
    assert config.base_of("free_heads-fifty") == "mixed_heads-fifty"
    assert config.base_of("free_heads") == "mixed_heads"
    alone = validate_config({"methods": ["random"], "variants": {"free_heads-slow": {"iterations": 3}}})
    assert alone.base_of("free_heads-slow") == "mixed_heads"
    assert {cell.method for cell in alone.learners()} == {"random", "mixed_heads", "free_heads-slow"}


def test_a_pool_may_choose_it():
    config = validate_config({**GIVEN, "pools": {"single": {"methods": ["free-off", "random"]}}})
    assert [cell.method for cell in config.cells()] == ["random"] * 3 + ["free-off"] * 3


def test_another_network_of_the_learner_decides_where_it_can_run():
    given = {"methods": ["average"], "variants": {"average-wide": {"learner": {"width": 64}}}}
    config = validate_config(given)
    assert config.inapplicable("single", "average") is None
    assert (
        config.inapplicable("single", "average-wide")
        == "the average of the models must have the meta-learner's architecture"
    )


def test_a_row_is_called_by_both_names_and_drawn_in_a_colour_of_its_own():
    row, method = entry("free-off"), METHODS["free"]
    assert row.label == "FREE, off"
    assert (row.fit, row.settings, row.bank) == (method.fit, method.settings, method.bank)
    assert (row.colour, row.marker) == ("", "")


def test_a_key_of_the_method_goes_before_a_section_of_the_same_name():
    config = validate_config({"methods": ["random"], "variants": {"cmi-proto": {"learner": "protonet"}}})
    assert config.options("cmi-proto") == {**config.options("cmi"), "learner": "protonet"}
    assert config.learner_of("cmi-proto") == config.learner
    others = {section_key(method) for method in METHODS if changed_beside(method) != ("inversion", "learner")}
    assert others == {"inversion_then_meta"}


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"fre-off": {}}, "variants.fre-off: `fre` is no method; did you mean `free`?"),
        ({"random-x": {"a": 1}}, "variants.random-x: `random` has no settings that could be changed"),
        ({"free": {}}, "variants.free: `free` cannot be a name here; use a method, a hyphen and a name, such as"),
        ({"free-x": {"bell": {"mode": "paralel"}}}, "variants.free-x.bell.mode: expected one of `off`, `parallel`"),
        ({"free-x": {"bel": {}}}, "variants.free-x.bel: unknown key; did you mean `variants.free-x.bell`?"),
        ({"free-x": {"inversion": {"latnt": 3}}}, "variants.free-x.inversion.latnt: unknown key"),
        ({"free-x": {"learner": {"width": 0}}}, "variants.free-x.learner.width: expected a whole number from 1"),
        ({"free-x": {"online": False, "generator": "fresh"}}, "variants.free-x.online: a `fresh` generator starts"),
        ({"free-x": {"replay": {"queries": 99}}}, "(`variants.free-x.replay.queries`)"),
        ({"free-x": {"start": "best_modl"}}, "variants.free-x.start: expected one of"),
        ({"free-x": {"learner": 64}}, "variants.free-x.learner: expected a section with keys such as"),
        ({"free-x": {"inversion": None}}, "variants.free-x.inversion: expected a section with keys such as"),
        ({"random-x": {"learner": {"width": 0}}}, "variants.random-x.learner.width: expected a whole number from 1"),
        ({"free_official-x": {"profile": "corrected"}}, "variants.free_official-x.profile: expected `official`"),
        (
            {"free-x": {"inversion": {"images_per_class": 3}}},
            "variants.free-x.inversion.images_per_class: 3 recovered images per class cannot give",
        ),
        (
            {"free-x": {"inversion": {"five": {"models_per_iteration": 500}}}},
            "variants.free-x.inversion.five.models_per_iteration: 500 different models",
        ),
        (
            {"free_heads-x": {"learner": {"width": 64}}},
            "variants.free_heads-x.learner: it begins with the learner of `mixed_heads`, whose `learner` is another; "
            "give `variants.mixed_heads-x` the same `learner`",
        ),
        (
            {"free_heads-x": {"inversion": {"latent": 3}}, "mixed_heads-x": {"steps": 3}},
            "variants.free_heads-x.inversion: it begins with the learner of `mixed_heads-x`, whose `inversion` is",
        ),
        (
            {"free-x": {"inversion": {"latent": 3}}, "mixed_heads-x": {"inversion": {"latent": 4}}},
            "variants.mixed_heads-x.inversion: another inversion than that of `free-x`, with which it shares the bank",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(variants, message):
    with pytest.raises(ConfigError) as caught:
        validate_config({"methods": ["free"], "variants": variants})
    assert message in str(caught.value)


def test_a_value_given_on_the_command_line_is_read_as_yaml():
    config = validate_config({"methods": ["free"], "variants": {"free-x": {"iterations": "12"}}})
    assert config.options("free-x")["iterations"] == 12


def test_rows_without_a_bank_share_none():
    variants = {
        "free-x": {"inversion": {"latent": 3}},
        "bidf_mkd-x": {"inversion": {"per_model": {"steps": 3}}},
    }
    assert validate_config({"methods": ["free"], "variants": variants}).inversion_of("bidf_mkd-x").per_model.steps == 3


def test_a_variant_cannot_go_back_from_a_profile():
    given = {"methods": ["free"], "free": {"profile": "official"}, "variants": {"free-x": {"profile": "corrected"}}}
    with pytest.raises(ConfigError, match=r"variants.free-x.profile: the method's section starts from `official`"):
        validate_config(given)


def test_what_is_reported_has_chosen_nothing():
    with pytest.raises(ConfigError, match=r"evaluation.select: `val_best` would choose on the very classes"):
        validate_config({"evaluation": {"split": "meta_val", "select": "val_best"}})
