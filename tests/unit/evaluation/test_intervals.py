"""Known answers of the interval (IG1), its combination over seeds and the spread."""

import math

import pytest

from dfml.evaluation.intervals import combine_intervals, interval95, seed_spread


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


@pytest.mark.parametrize("function", [interval95, combine_intervals, seed_spread])
def test_nothing_to_summarise_is_an_error(function):
    with pytest.raises(ValueError, match="no value"):
        function([])
