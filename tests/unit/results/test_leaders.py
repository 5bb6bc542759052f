"""Which methods lead a column: what is bold in the main table, by Student's interval over seeds alone."""

import pandas as pd

from dfml.results.summary import leaders


def methods(frame):
    return {key[-3] for key in leaders(frame)}


def measured(**accuracies):
    """Accuracies of each method, seed by seed."""
    return pd.DataFrame(
        [
            {"pool": "p", "dataset": "d", "ways": 5, "shots": 1, "method": method, "rule": "r", "batch_norm": "b"}
            | {"seed": seed, "accuracy": accuracy}
            for method, values in accuracies.items()
            for seed, accuracy in enumerate(values)
        ]
    )


def test_the_highest_alone_where_it_is_told_apart():
    assert methods(measured(a=[50.0, 40.0, 45.0], b=[48.9, 39.0, 44.1])) == {"a"}


def test_together_with_what_is_not_told_apart_from_it():
    # a − b: 3, 1, −1, whose interval includes zero; a − c: 9, 10, 11
    found = measured(a=[50.0, 40.0, 45.0], b=[47.0, 39.0, 46.0], c=[41.0, 30.0, 34.0])
    assert methods(found) == {"a", "b"}


def test_the_sign_on_every_seed_is_not_enough():
    # differences 0.2, 1, 4: mean 1.73, Student's half-width 4.98
    assert methods(measured(a=[50.0, 41.0, 49.0], b=[49.8, 40.0, 45.0])) == set()


def test_none_with_one_seed():
    assert methods(measured(a=[50.0], b=[20.0])) == set()


def test_none_where_all_are_level():
    assert methods(measured(a=[50.0, 40.0], b=[40.0, 50.0])) == set()


def test_a_method_that_lacks_a_seed_takes_no_part():
    assert methods(measured(a=[50.0, 40.0], b=[39.0, 29.1], c=[60.0])) == {"a"}


def test_no_seed_that_all_have():
    frame = measured(a=[50.0], b=[40.0])
    assert methods(frame.assign(seed=[0, 1])) == set()


def test_the_order_of_rows_and_seeds_changes_nothing():
    frame = measured(a=[50.0, 40.0, 45.0], b=[47.0, 39.0, 46.0], c=[41.0, 30.0, 34.0])
    assert leaders(frame.assign(seed=2 - frame["seed"])[::-1]) == leaders(frame)
