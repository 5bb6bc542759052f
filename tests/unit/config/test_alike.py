"""Which cells share a learner or a record."""

from dfml.artefacts.base import Cell
from dfml.config.load import validate_config

POOLS = {
    "one": {"datasets": ["icons_colour"], "networks": ["conv4"]},
    "two": {"datasets": ["icons_colour"], "networks": ["conv4", "resnet10_narrow"]},
    "far": {"datasets": ["icons_colour", "glyphs"], "networks": ["conv4"]},
}
WORLD = {
    "datasets": {"icons_colour": {}, "glyphs": {}},
    "networks": {"conv4": {"family": "conv4"}, "resnet10_narrow": {"family": "resnet10", "width": 8}},
}
METHODS = ["random", "zoo_features", "free", "supervised_maml"]


def alike(*, across_shots):
    """For every cell that is not the first of its kind, the one that is."""
    config = validate_config(WORLD | {"shots": [1, 5], "pools": POOLS, "methods": METHODS, "seeds": [0, 1]})
    found = config.first_alike(config.cells(), across_shots=across_shots)
    assert list(found) == config.cells()
    assert all(found[first] == first for first in found.values())
    return {cell: first for cell, first in found.items() if first != cell and cell.seed == 1}


def test_a_bank_is_recovered_as_those_that_start_from_it_say():
    """BiDf-MKD recovers its own images: what a variant of it says of inversion is not said of a namesake's bank."""
    variants = {
        "free-few": {"inversion": {"five": {"steps": 3}}},
        "bidf_mkd-few": {"inversion": {"per_model": {"learning_rate": 0.005}}},
    }
    config = validate_config(WORLD | {"methods": ["free", "bidf_mkd"], "variants": variants})
    found = config.inversions()
    assert {name: own.five.steps for name, own in found.items()} == {"five": 5, "five-few": 3}
    assert found["five-few"].per_model == found["five"].per_model


def test_a_learner_is_shared_by_pools_of_the_same_images_and_by_shots():
    of_shots = {Cell(pool, "zoo_features", 5, 1): Cell(pool, "zoo_features", 1, 1) for pool in POOLS}
    of_shots[Cell("far", "random", 5, 1)] = Cell("far", "random", 1, 1)
    of_pools = {Cell("two", "supervised_maml", shots, 1): Cell("one", "supervised_maml", shots, 1) for shots in (1, 5)}
    of_both = dict.fromkeys([Cell("one", "random", 5, 1), Cell("two", "random", 1, 1), Cell("two", "random", 5, 1)])
    assert alike(across_shots=True) == of_shots | of_pools | dict.fromkeys(of_both, Cell("one", "random", 1, 1))


def test_a_record_is_shared_by_pools_of_the_same_images_alone():
    assert alike(across_shots=False) == {
        Cell("two", method, shots, 1): Cell("one", method, shots, 1)
        for method in ("random", "supervised_maml")
        for shots in (1, 5)
    }
