"""What is said about wrong values: the key, the fault, the remedy, all in one go."""

import subprocess
import sys

import pytest

from dfml.catalogue import METHODS
from dfml.config.explain import REMOVED
from dfml.config.load import validate_config
from dfml.config.root import Config
from dfml.config.tree import locate
from dfml.errors import ConfigError
from support.configuration import problems


def test_nothing_given_is_the_default():
    assert validate_config({}) == Config()


def test_everything_is_told_at_once_also_what_needs_sound_values():
    found = problems(
        {
            "epochs": 3,
            "zoo": {"modles": 5, "gradient_clip": "1e-3"},
            "datasets": {"icnos": {}, "mine": {"source": "folder", "side": 30}},
            "evaluation": {"select": "val_best", "validation_episodes": 0},
            "pools": {
                "single": {"datasets": ["icons"], "networks": ["conv5"], "methods": ["fre", "average"]},
                "other": {"datasets": ["icnos", "mine"]},
            },
        }
    )
    assert found == [
        "datasets.icnos: not an embedded data set; did you mean `icons`? known: `icons_colour`, `icons`, "
        "`emoji`, `glyphs`. Your own images need `source: folder`",
        "datasets.mine.path: a `folder` data set needs the directory with one sub-folder per class",
        "datasets.mine.side: expected a whole number from 16 to 224, divisible by 4, got `30`",
        "epochs: unknown key here; `epochs` is a key of `datasets.<name>`, `zoo`, `zoo.conv4`, `zoo.resnet`: "
        "move it there",
        "evaluation.validation_episodes: `select: val_best` needs meta-val episodes; use at least 1, or `select: last`",
        "pools.single.datasets: `icons` is not under `datasets`; add `icons: {}`",
        "pools.single.methods: `average` is not in the top-level `methods`; add it there or remove it here",
        "pools.single.methods: unknown method `fre`; did you mean `free`? known: "
        + ", ".join(f"`{name}`" for name in METHODS),
        "pools.single.networks: `conv5` is not under `networks`; did you mean `conv4`? known: `conv4`",
        "zoo.gradient_clip: expected a number above 0, got the text `'1e-3'`; YAML reads `1e-3` as text: "
        "write `1.0e-3` or `0.001`",
        "zoo.modles: unknown key; did you mean `zoo.models`?",
    ]


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"zoo": {"models": 0}}, "zoo.models: expected a whole number from 1 to 10000, got `0`"),
        ({"zoo": {"epochs": 2.0}}, "zoo.epochs: expected a whole number of at least 1, got `2.0`; write `2`"),
        ({"zoo": {"models": True}}, "zoo.models: expected a whole number from 1 to 10000, got `true`"),
        ({"zoo": {"gradient_clip": float("nan")}}, "zoo.gradient_clip: expected a number above 0, got `nan`"),
        ({"zoo": {"stem_relu": 1}}, "zoo.stem_relu: expected `true` or `false`, got `1`"),
        (
            {"zoo": {"augment": "crop-flip"}},
            "zoo.augment: expected one of `none`, `crop`, `crop_flip`, `affine`, got the text `'crop-flip'`; "
            "did you mean `crop_flip`?",
        ),
        (
            {"zoo": {"augment": False}},
            "zoo.augment: expected one of `none`, `crop`, `crop_flip`, `affine`, got `false`; YAML reads on, off, yes "
            "and no as true or false: put text in quotes",
        ),
        (
            {"learner": {"grid": 2, "side": 32}},
            "learner: grid: is for images of several sides, and `side` leaves one; set `grid: 1` or `side: null`",
        ),
        (
            {"free": {"bell": None}},
            "free.bell: expected a section with keys such as `mode`, `heads`, "
            "`kd_loss`, got `null`; a key with nothing after it is null: give it a value or "
            "remove it",
        ),
        (
            {"seeds": 3},
            "seeds: expected a list of 1 or more, each "
            "a whole number of at least 0 below 9223372036854775808, got `3`; write `[3]`",
        ),
        (
            {"seeds": []},
            "seeds: expected a list of 1 or more, each "
            "a whole number of at least 0 below 9223372036854775808, got `[]`",
        ),
        ({"seeds": [0, -1]}, "seeds[1]: expected a whole number of at least 0 below 9223372036854775808, got `-1`"),
        ({"seeds": [1, 1]}, "seeds: lists 1 more than once; remove the repetition"),
        (
            {"datasets": {"icons": {"fractions": [0.5, 0.5]}}},
            "datasets.icons.fractions: expected a list of 3, each a number, got `[0.5, 0.5]`",
        ),
        (
            {"pools": {"My pool": {}}},
            "pools.My pool: `My pool` cannot be a name here; use a name of lower-case letters, digits and "
            "`_` that starts with a letter",
        ),
        ({"pools": {}}, "pools: expected one section or more, by name, got an empty section"),
        ({3: 4}, "3: unknown key; keys are names, not numbers or other values"),
        (
            {"zoo": {"learning_rate": 0.1}},
            "zoo.learning_rate: unknown key here; `learning_rate` is a key of `zoo.conv4`, `zoo.resnet`, "
            "`inversion.five`, `inversion.per_model` and 23 more: move it there",
        ),
        (
            {"batchsize": 3},
            "batchsize: unknown key; did you mean `batch_size`, a key of `zoo`, `bank_heads`, `procedural_heads`, "
            "`mixed_heads` and 2 more?",
        ),
        (
            {"zoo": {"checkpoints": 3, "average": 1}},
            "zoo.average: unknown key here; `average` is a key of the top level: move it there",
        ),
        (
            {"average": {"xyzzy": 3}},
            "average.xyzzy: unknown key; known here: `head`",
        ),
    ],
)
def test_says_what_is_wrong_and_what_to_do(mapping, line):
    assert line in problems(mapping)


@pytest.mark.parametrize("key", REMOVED, ids=".".join)
def test_a_key_of_an_earlier_version_is_told_what_became_of_it(key):
    assert locate(key) is None
    mapping: object = {"steps": 100}
    for part in reversed(key):
        mapping = {part: mapping}
    assert problems(mapping) == [f"{'.'.join(key)}: {REMOVED[key]}"]


def test_a_section_of_a_removed_method_is_no_slip():
    (line,) = problems({"icfil": {"steps": 100}})
    assert line.startswith("icfil: removed: ")
    assert "did you mean" not in line


def test_selection_on_meta_test_is_refused_with_the_reason():
    (line,) = problems({"evaluation": {"select": "best_on_test"}})
    assert line.startswith("evaluation.select: `best_on_test` is refused: ")
    assert line.endswith("use `last` or `val_best`")


def test_a_wrong_value_does_not_bring_forth_others():
    """What rests on a value that is wrong itself is not judged."""
    pools = {"single": {"datasets": ["mine"]}}
    assert len(problems({"datasets": {"mine": {"source": "fodler"}}, "pools": pools})) == 1
    assert len(problems({"datasets": {"mine": {"source": "folder", "paht": "x"}}, "pools": pools})) == 1
    assert len(problems({"networks": {"conv": {"width": 0}}, "pools": {"single": {"networks": ["conv"]}}})) == 1
    assert len(problems({"inversion": {"images_per_class": "many"}, "shots": [50]})) == 1
    assert len(problems({"shots": ["five"]})) == 1


def test_nested_values_of_the_command_line_are_read_as_yaml():
    """`--config zoo={models: 6}` reaches the rules as {"zoo": {"models": "6"}}."""
    given = {
        "seeds": ["0"],
        "zoo": {"models": "16", "gradient_clip": "0.5", "stem_relu": "no"},
        "pools": {"single": {"methods": "null"}},
    }
    config = validate_config(given)
    assert (config.seeds, config.zoo.models, config.zoo.gradient_clip) == ((0,), 16, 0.5)
    assert (config.zoo.stem_relu, config.pools["single"].methods) == (False, None)
    assert given["zoo"]["models"] == "16", "the given mapping was changed"
    assert problems({"zoo": {"models": "six"}}) == [
        "zoo.models: expected a whole number from 1 to 10000, got the text `'six'`"
    ]


def test_names_the_source():
    with pytest.raises(ConfigError, match=r"^mine\.yaml: 1 problem\n  zooo: "):
        validate_config({"zooo": 1}, "mine.yaml")


@pytest.mark.parametrize("value", [[], None, "zoo", 3])
def test_needs_a_mapping(value):
    with pytest.raises(ConfigError, match="expected keys at the top level"):
        validate_config(value)


def test_is_quick_to_import():
    code = "import sys, dfml.config.load; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pandas", "snakemake"} & set(run.stdout.split()) == set()
