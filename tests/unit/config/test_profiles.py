"""The profiles of FREE resolve to the table of deviations between the published code and the method."""

import json
from pathlib import Path

import pytest

from dfml.catalogue import section_key
from dfml.config.load import validate_config
from dfml.config.root import Config
from dfml.config.tree import children, keys, locate
from dfml.methods.free.settings import OFFICIAL_FREE, FreeSettings

GOLDEN = json.loads((Path(__file__).parent / "golden_free.json").read_text(encoding="utf-8"))
# How long it runs and what is kept of the way are nobody's deviation.
BUDGET = {"iterations", "snapshots", "five.iterations"}


def written_out(five):
    """FIVE's settings with the outer rate in figures."""
    return five.model_dump(mode="json") | {"outer_learning_rate": five.outer_rate}


def flat(values: dict, above: str = "") -> dict[str, object]:
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def options(free: dict, method: str = "free") -> dict[str, object]:
    return flat(validate_config({method: free}).options(method))


def without_budget(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if key not in BUDGET}


@pytest.mark.parametrize("deviation", GOLDEN["deviations"], ids=lambda one: f"{one['id']}-{one['key']}")
@pytest.mark.parametrize("profile", ["official", "corrected"])
def test_every_deviation_has_its_side(deviation, profile):
    assert options({"profile": profile})[deviation["key"]] == deviation[profile]


@pytest.mark.parametrize("method", ["free", "free_heads"])
def test_official_is_the_published_code_in_every_option(method):
    assert without_budget(options({"profile": "official"}, method)) == GOLDEN["official"]


def test_free_official_is_that_profile():
    assert without_budget(options({}, "free_official")) == GOLDEN["official"]
    assert options({}, "free_official") == options({"profile": "official"})


def test_corrected_is_the_default_with_a_statistics_term_and_no_unbounded_adversary():
    assert options({}) == options({"profile": "corrected"})
    assert options({})["five.bn_weight"] > 0  # F07
    assert options({})["adversary.weight"] == 0 or options({})["adversary.loss"] == "js"


def test_official_leaves_no_option_to_our_defaults():
    """A new option must say what the published code does."""
    own = {".".join(key.path[1:]) for key in keys() if key.path[0] == "free" and not children(key.node)}
    assert set(flat(OFFICIAL_FREE)) == own - BUDGET - {"profile"}


@pytest.mark.parametrize("deviation", GOLDEN["deviations"], ids=lambda one: f"{one['id']}-{one['key']}")
@pytest.mark.parametrize("method", ["free", "free_official", "free_heads"])
def test_one_option_beside_official_changes_only_itself(deviation, method):
    section: dict = {} if method == "free_official" else {"profile": "official"}
    *above, last = deviation["key"].split(".")
    inner = section
    for part in above:
        inner = inner.setdefault(part, {})
    inner[last] = deviation["corrected"]
    expected = {**GOLDEN["official"], deviation["key"]: deviation["corrected"]}
    assert without_budget(options(section, method)) == expected


def test_budget_is_the_users_in_every_profile():
    for method in ("free", "free_official"):
        assert options({"iterations": 7, "snapshots": 2}, method)["iterations"] == 7


def test_a_profile_read_back_is_itself():
    for profile in ("official", "corrected"):
        settings = FreeSettings(profile=profile)
        assert FreeSettings.model_validate(settings.model_dump(mode="json")) == settings
    config = Config()
    assert FreeSettings.model_validate(config.options("free")) == config.free.resolved(config.inversion)


def test_five_is_that_of_the_inversion_unless_it_is_given():
    inversion = {"five": {"steps": 3, "bn_weight": 0.7}}
    config = validate_config({"inversion": inversion})
    assert config.options("free")["five"] == written_out(config.inversion.five)
    assert config.options("free")["five"]["outer_learning_rate"] == pytest.approx(3e-3)
    assert config.options("free_heads")["five"]["steps"] == 3
    assert config.options("free_official")["five"]["steps"] == 5
    config = validate_config({"inversion": inversion, "free": {"five": {"keep": "final"}}})
    assert config.options("free")["five"] == {
        **written_out(Config().inversion.five),
        "keep": "final",
    }


def test_nothing_is_left_to_look_up():
    config = Config()
    # Here null means something by itself: whatever an episode takes, every model, and no average.
    own = {"purer": {"images_per_class", "models_per_iteration"}}
    for kind in ("bank", "procedural", "mixed", "noise", "unlabelled"):
        own[f"{kind}_heads"] = {"models_per_question"}
    for method in locate(("methods", 0))["enum"]:
        nulls = {key for key, value in flat(config.options(method)).items() if value is None}
        nulls -= {"averaging", "replay.averaging"}
        assert nulls == own.get(section_key(method), set())
    assert config.options("random") == {}
