"""Known answers of the intervals, over episodes and over seeds, and of the spread; what pairing is good for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dfml.evaluation.intervals import combine_intervals, interval95, seed_spread, student95

ACCURACIES = arrays(np.float64, 20, elements=st.integers(0, 75).map(lambda right: 100 * right / 75))
FEW = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def test_interval_uses_the_population_deviation():
    # mean 5, deviations ±3 ±1: variance (9 + 1 + 1 + 9) / 4 = 5
    assert interval95([2.0, 4.0, 6.0, 8.0]) == pytest.approx(1.96 * math.sqrt(5) / 2, abs=1e-12)


def test_interval_of_equal_values_is_zero():
    assert interval95([3.5] * 7) == 0.0


def test_combined_interval_is_root_of_sum_of_squares_over_n():
    assert combine_intervals([3.0, 4.0]) == pytest.approx(2.5, abs=1e-12)
    assert combine_intervals([0.6] * 3) == pytest.approx(0.6 / math.sqrt(3), abs=1e-12)


def test_mean_over_three_data_sets_matches_the_formula_of_standard_errors():
    errors = [0.31, 0.4, 0.27]
    expected = math.sqrt(sum(e**2 for e in errors)) * 1.96 / 3
    assert combine_intervals([1.96 * e for e in errors]) == pytest.approx(expected, abs=1e-12)


def test_one_interval_stays_as_it_is():
    assert combine_intervals([0.83]) == pytest.approx(0.83, abs=1e-12)


def test_spread_is_the_sample_deviation():
    assert seed_spread([40.0, 42.0, 44.0]) == pytest.approx(2.0, abs=1e-12)


def test_one_seed_has_no_spread():
    assert seed_spread([40.0]) is None


@pytest.mark.parametrize(
    ("values", "half_width"),
    [
        # t(0.975) of the table: 12.7062 with 1 degree of freedom, 4.3027 with 2, 2.7764 with 4
        ([0.0, 2.0], 12.7062),  # sd √2, √n = √2
        ([1.0, 2.0, 3.0], 4.3027 / math.sqrt(3)),  # sd 1
        ([-1.0, 0.0, 0.0, 0.0, 1.0], 2.7764 * math.sqrt(0.5 / 5)),  # variance 2 / 4
    ],
)
def test_interval_over_seeds_is_students(values, half_width):
    assert student95(values) == pytest.approx(half_width, abs=1e-4)


def test_one_seed_has_no_interval_over_seeds():
    assert student95([1.5]) is None


@given(values=FEW, draws=st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(values, draws):
    mixed = draws.sample(values, len(values))
    assert student95(mixed) == pytest.approx(student95(values), abs=1e-9)


@given(values=FEW)
def test_students_interval_is_wider_than_that_of_many_values(values):
    assert student95(values) >= interval95(values)


@given(values=ACCURACIES)
def test_the_paired_interval_of_equal_accuracies_is_zero(values):
    assert interval95(values - values) == 0.0


@given(ours=ACCURACIES, theirs=ACCURACIES)
def test_pairing_narrows_the_interval_exactly_where_accuracies_rise_together(ours, theirs):
    paired = interval95(ours - theirs)
    apart = math.hypot(interval95(ours), interval95(theirs))
    covariance = np.mean((ours - ours.mean()) * (theirs - theirs.mean()))
    if covariance > 1e-6:
        assert paired < apart
    elif covariance < -1e-6:
        assert paired > apart


@pytest.mark.parametrize("function", [interval95, combine_intervals, seed_spread, student95])
def test_nothing_to_summarise_is_an_error(function):
    with pytest.raises(ValueError, match="no value"):
        function([])
