"""Verdicts on claims, against examples worked out by hand."""

import numpy as np
import pytest
from scipy.special import stdtrit

from dfml.results.claims.declared import SpeedTest
from dfml.results.claims.verdict import MOST_SEEDS, Arm, Judgement, judge, judge_speed, overall, seeds_needed
from support.claims import comparison

# The sd is 1, Student's t of 3 seeds 4.303: the half-width is 4.303 / √3 = 2.484.
VALUES = {0: 1.0, 1: 2.0, 2: 3.0}


class TestJudge:
    @pytest.mark.parametrize(
        ("threshold", "verdict"),
        [
            ({"more_than": None, "at_least": -0.49}, "confirmed"),  # the interval begins at −0.484
            ({"more_than": None, "at_least": -0.48}, "undecided"),
            ({"more_than": 0.0}, "undecided"),
            ({"more_than": None, "at_least": 4.48}, "undecided"),  # and ends at 4.484
            ({"more_than": None, "at_least": 4.49}, "refuted"),
        ],
    )
    def test_the_interval_decides(self, threshold, verdict):
        judgement = judge(VALUES, comparison(**threshold))
        assert judgement.verdict == verdict
        assert judgement.measured == "2.00 ± 2.48 (3 seeds)"
        assert judgement.values == VALUES

    @pytest.mark.parametrize(
        ("threshold", "verdict"),
        [({"more_than": None, "at_least": 1.0}, "confirmed"), ({"more_than": 1.0}, "refuted")],
    )
    def test_the_threshold_itself_is_at_least_but_not_more(self, threshold, verdict):
        assert judge(dict.fromkeys(range(3), 1.0), comparison(**threshold)).verdict == verdict

    @pytest.mark.parametrize("value", [-9.0, 9.0])
    def test_too_few_seeds_decide_nothing(self, value):
        few = judge({0: value, 1: value + 0.01}, comparison())
        assert (few.verdict, few.why.endswith("is that of 2 seeds; the study wants 3")) == ("undecided", True)
        one = judge({0: value}, comparison(seeds=1))
        assert (one.verdict, one.why) == ("undecided", "one seed has no interval; the study wants 2")

    def test_undecided_says_how_many_seeds_would_settle_it(self):
        assert judge(VALUES, comparison()).why.endswith("with this mean and spread 4 seeds would settle it")
        at = judge(VALUES, comparison(more_than=2.0))
        assert at.why.endswith("the mean itself lies at the threshold, so no number of seeds would settle it")
        near = judge(VALUES, comparison(more_than=1.99))
        assert near.why.endswith(f"with this mean and spread more than {MOST_SEEDS} seeds would settle it")

    @pytest.mark.parametrize(
        ("values", "verdict", "why"),
        [
            ({0: 15.0, 1: 35.1 - 20.1, 2: 16.0}, "confirmed", "every seed is at least 15, the lowest 15.00"),
            ({0: 14.99, 1: 90.0, 2: 14.5}, "refuted", "seed 2 gives 14.50, which is not at least 15"),
            ({0: 14.0}, "refuted", "seed 0 gives 14.00, which is not at least 15"),
            ({0: 15.0, 1: 16.0}, "undecided", "every seed so far reaches it; the study wants 1 more seed"),
        ],
    )
    def test_every_seed(self, values, verdict, why):
        judgement = judge(values, comparison(more_than=None, at_least=15.0, every_seed=True))
        assert (judgement.verdict, judgement.why) == (verdict, why)


@pytest.mark.parametrize(
    ("values", "threshold", "seeds"),
    [
        # sd 1, distance 2: 2 seeds have 12.706 / √2 = 8.98, 3 have 4.303 / √3 = 2.48, 4 have 3.182 / 2 = 1.59.
        ([1, 2, 3], 0, 4),
        ([1, 2, 3], 4, 4),
        # Distance 1: 6 seeds have 2.571 / √6 = 1.05, 7 have 2.447 / √7 = 0.92.
        ([1, 2, 3], 1, 7),
        ([5, 5], 4, 2),
        ([1, 2, 3], 1.99, MOST_SEEDS + 1),
        ([1, 2, 3], 2, None),
        ([0.1 + 0.2, 0.3], 0.3, None),
    ],
)
def test_seeds_needed(values, threshold, seeds):
    assert seeds_needed(values, threshold) == seeds


def test_seeds_added_until_something_is_decided_decide_too_often():
    """What the page of claims warns of: 5 % with five seeds, 19 % with a look after each up to twenty."""
    values = np.random.default_rng(0).standard_normal((20_000, 20))
    decided = np.zeros(len(values), bool)
    shares = {}
    for seeds in range(5, 21):
        own = values[:, :seeds]
        half_width = stdtrit(seeds - 1, 0.975) * own.std(axis=1, ddof=1) / seeds**0.5
        decided |= abs(own.mean(axis=1)) > half_width
        shares[seeds] = decided.mean()
    assert shares[5] == pytest.approx(0.05, abs=0.005)
    assert shares[20] == pytest.approx(0.19, abs=0.005)


def test_one_value_has_no_spread():
    with pytest.raises(ValueError, match="no spread"):
        seeds_needed([1.0], 0.0)


def arm(steps, times, accuracy, *, ce=0.3, name="per_model", tasks=2) -> Arm:
    return Arm(name, steps, tasks, times, ce, accuracy)


FIVE = arm(5, 1.0, 90.0, name="five")


@pytest.mark.parametrize(
    ("arms", "verdict", "why"),
    [
        ([arm(5, 1, 80), arm(50, 9.8, 90)], "refuted", "50 steps per model are as good as FIVE's 5, in 9.8 times"),
        ([arm(200, 40, 99), arm(100, 20, 89)], "confirmed", "100 steps per model take 20.0 times as long and are not"),
        ([arm(200, 40, 99), arm(100, 20, 99, ce=0.4)], "confirmed", "100 steps per model take 20.0 times"),
        ([arm(50, 9.8, 80), arm(200, 40, 95)], "undecided", "arms of more than 50 and fewer than 200 steps would"),
        ([arm(50, 9.8, 80)], "undecided", "arms of more than 50 steps would settle it"),
        ([arm(200, 40, 95)], "undecided", "arms of fewer than 200 steps would settle it"),
        ([arm(50, 9.8, 95, tasks=1)], "undecided", "timed on 1 task; the study wants 2"),
    ],
)
def test_speed_at_equal_quality_is_enclosed(arms, verdict, why):
    judgement = judge_speed([FIVE, *arms], SpeedTest(experiment="one", pool="single", at_least=20.0, tasks=2))
    assert judgement.verdict == verdict
    assert judgement.why.startswith(why)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["confirmed", "confirmed"], "confirmed"),
        (["confirmed", "refuted", "not run"], "refuted"),
        (["confirmed", "undecided"], "undecided"),
        (["undecided", "not run"], "undecided"),
        (["confirmed", "not run"], "not run"),
        (["not run"], "not run"),
    ],
)
def test_a_claim_has_to_pass_all_of_its_tests(words, verdict):
    assert overall([Judgement(word, "") for word in words]) == verdict
