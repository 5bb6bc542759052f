"""Sweeps: which experiments a grid of settings is, how they are named, and what is refused."""

import pytest

from dfml.config.load import load_config
from dfml.config.sweep import plan_sweep
from dfml.errors import ConfigError
from support.repository import ROOT

FILES = [ROOT / "config/config.yaml"]


def names(*settings):
    return [point.name for point in plan_sweep(FILES, settings)]


def test_every_combination_with_the_settings_of_one_value_in_all(tmp_path):
    points = plan_sweep(FILES, ["zoo.models=8,16", "free.iterations=2,3,5", "seeds=[0]"])
    assert len(points) == len({point.name for point in points}) == 6
    for point in points:
        path = tmp_path / "point.yaml"
        path.write_text(str(dict(point.changes)).replace("'", ""))
        config = load_config([*FILES, path])
        expected = f"demo_zoo_models_{config.zoo.models}_free_iterations_{config.free.iterations}_seeds_0"
        assert config.experiment == point.name == expected
        assert config.seeds == (0,)
        assert config.free.start == "zero_head"  # what the file gave beside stays


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("zoo.conv4.learning_rate=0.1,0.01", ["demo_zoo_conv4_learning_rate_0p1", "demo_zoo_conv4_learning_rate_0p01"]),
        ("seeds=[0],[0, 1]", ["demo_seeds_0", "demo_seeds_0_1"]),
        ("zoo.checkpoint=last,best", ["demo_zoo_checkpoint_last", "demo_zoo_checkpoint_best"]),
        ("zoo.epochs=4", ["demo_zoo_epochs_4"]),
    ],
)
def test_experiments_are_named_by_what_is_set(setting, expected):
    assert names(setting) == expected


def test_a_further_value_leaves_the_other_names_alone():
    assert set(names("zoo.models=8,16")) < set(names("zoo.models=8,12,16"))


def test_names_that_would_be_the_same_are_told_apart():
    found = names("datasets.mine.source=folder", "datasets.mine.path=a-b,amb")
    assert len(set(found)) == 2


def test_no_other_sweep_has_the_same_names():
    sweeps = [
        names("zoo.conv4.weight_decay=0.1,0.2"),
        names("zoo.resnet.weight_decay=0.1,0.2"),
        names("zoo.conv4.weight_decay=0.1,0.2", "zoo.models=8"),
        names("zoo.conv4.weight_decay=0.1,0.2", "zoo.models=9"),
    ]
    assert len({name for found in sweeps for name in found}) == 8


def test_a_long_name_ends_in_a_digest():
    settings = [f"zoo.{recipe}.{key}=0.1,0.2" for recipe in ("conv4", "resnet") for key in ("weight_decay", "momentum")]
    found = names(*settings, "free.bell.mode=off", "free.replay.learning_rate=0.001")
    assert len(set(found)) == 16
    assert all(len(name) <= 110 for name in found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["zoo.modles=4,8"], "zoo.modles.*zoo.models"),
        (["zoo.models=four,8"], "zoo.models"),
        (["zoo.models"], "expected a dotted key"),
        (["=4"], "expected a dotted key"),
        (["zoo..models=4"], "expected a dotted key"),
        (["zoo.models="], "expected a dotted key"),
        (["zoo.models=[4"], "expected a dotted key"),
        (["zoo.models=4,4"], "given twice"),
        (["zoo.models=4", "zoo.models=8"], "set the same"),
        (["zoo.models=4", "zoo={models: 8}"], "set the same"),
        (["experiment=a,b"], "names by itself"),
        ([], "needs settings"),
    ],
)
def test_what_is_refused_before_anything_runs(settings, message):
    with pytest.raises(ConfigError, match=message):
        plan_sweep(FILES, settings)
