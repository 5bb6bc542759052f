"""Whose colours are varied: those of drawings in any colour, never of what else a user brings, unless he says so."""

import pytest

from dfml.config.load import validate_config
from dfml.config.root import Config
from support.configuration import recoloured

MINE = {"source": "folder", "path": "images"}
EPISODES = {"free": ("replay",), "tgr": ("replay",), "purer_anil": ()}
"""Methods that learn from episodes, and where in their sections these are described."""


def config_of(pool: dict, **more: object) -> Config:
    """Zoo and all methods recolour what they may, on a pool of three data sets' zoos to choose from."""
    sections = {"free": {"replay": {"recolour": True}}, "tgr": {"replay": {"recolour": True}}}
    return validate_config(
        {
            "datasets": {"icons": {}, "mine": MINE, "drawn": {**MINE, "recolour": True}},
            "pools": {"single": pool},
            "methods": ["random", "free", "tgr", "purer_anil"],
            "zoo": {"recolour": True},
            "purer": {"recolour": True},
            **sections,
            **more,
        }
    )


@pytest.mark.parametrize("names", [["icons"], ["drawn"], ["icons", "drawn"]])
def test_drawings_are_recoloured(names):
    config = config_of({"datasets": names})
    assert recoloured(config) == {"zoo", *EPISODES}
    assert config.options("random", "single") == {}


@pytest.mark.parametrize("names", [["mine"], ["icons", "mine"]])
def test_what_else_is_brought_keeps_its_colours_in_every_episode(names):
    config = config_of({"datasets": names})
    assert [config.zoo_of(name).recolour for name in names] == [name == "icons" for name in names]
    assert recoloured(config) - {"zoo"} == set()
    for method, (*below,) in EPISODES.items():
        elsewhere, here = config.options(method), config.options(method, "single")
        for key in below:
            elsewhere, here = elsewhere[key], here[key]
        assert here == {**elsewhere, "recolour": False}, "and nothing else changes"


def test_embedded_images_can_keep_them_too():
    config = config_of({"datasets": ["icons"]}, datasets={"icons": {"recolour": False}})
    assert recoloured(config) == set()


def test_a_data_set_that_is_only_measured_on_does_not_matter():
    assert "free" in recoloured(config_of({"datasets": ["icons"], "evaluate": ["mine"]}))


def test_what_models_are_asked_is_recoloured_whatever_they_know():
    config = config_of({"datasets": ["mine"]}, methods=["mixed_heads"])
    assert config.options("mixed_heads", "single")["recolour"]
