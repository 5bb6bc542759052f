"""What PURER's section asks of the rest of the configuration."""

from dfml.config.load import validate_config
from support.configuration import problems

RUN = {"methods": ["purer_maml"]}
TWO_SIDES = {
    "datasets": {"icons": {}, "mine": {"source": "folder", "path": "images", "side": 84}},
    "pools": {"both": {"datasets": ["icons", "mine"]}},
}


def test_an_episode_fits_into_the_set():
    few = {"purer": {"images_per_class": 19}, "shots": [1, 5]}
    (line,) = problems(RUN | few)
    assert line == (
        "purer.images_per_class: 19 images per class cannot give an episode of 5 shots and 15 queries "
        "(`purer.queries`); use at least 20, fewer queries or null"
    )
    assert validate_config(RUN | few | {"purer": {"images_per_class": 20}})
    assert validate_config(few | {"methods": ["random"]})


def test_no_more_models_than_the_pool_has():
    many = {"purer": {"models_per_iteration": 9}, "zoo": {"models": 8}}
    (line,) = problems(RUN | many)
    assert line.startswith("purer.models_per_iteration: 9 different models, but pool `single` has 8;")
    assert validate_config(RUN | many | {"zoo": {"models": 9}})
    assert validate_config(many | {"methods": ["random"]})


def test_heads_of_several_sides_have_no_average():
    (line,) = problems(RUN | TWO_SIDES | {"purer": {"head": "averaged"}})
    assert line == "purer.head: pool `both` unites images of side 32 and 84: heads differ; use `zero` or `fresh`"
    assert validate_config(RUN | TWO_SIDES)
    assert validate_config(RUN | TWO_SIDES | {"purer": {"head": "averaged", "start": "random"}})
    assert validate_config(RUN | {"purer": {"head": "averaged"}})


def test_the_average_to_begin_with_is_no_row_of_the_table():
    """Models of several networks have none; PURER then begins with random weights and applies all the same."""
    mixed = {"networks": {"conv4": {}, "small": {"family": "resnet10", "width": 8}}}
    config = validate_config(RUN | mixed | {"pools": {"single": {"networks": ["conv4", "small"]}}})
    assert config.purer.start == "average"
    assert config.inapplicable("single", "purer_maml") is None
    assert config.inapplicable("single", "average")
