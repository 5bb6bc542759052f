"""From numbers to a verdict. Torch-free, and knows no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from dfml.evaluation.intervals import seed_spread, student95
from dfml.results.claims.declared import Comparison, SpeedTest, number

Verdict = Literal["confirmed", "refuted", "undecided", "not run"]

MOST_SEEDS = 50
"""More seeds than this are not counted: nobody would run them."""


@dataclass(frozen=True)
class Judgement:
    """What one test came to.

    Attributes:
        verdict: The word.
        why: The reason, a phrase.
        values: What each seed gave, in points (in percent where nothing is subtracted).
        measured: What is printed as the measured value.
    """

    verdict: Verdict
    why: str
    values: Mapping[int, float] = field(default_factory=dict)
    measured: str = "–"


@dataclass(frozen=True)
class Arm:
    """One row of a speed table: median seconds as times those of FIVE, quality of the images to their teacher."""

    name: str
    steps: int
    tasks: int
    times: float
    teacher_ce: float
    teacher_accuracy: float

    def as_good_as(self, other: Arm) -> bool:
        """Whether its images are recognised at least as often, with at most the cross-entropy."""
        return self.teacher_accuracy >= other.teacher_accuracy and self.teacher_ce <= other.teacher_ce


def judge(values: Mapping[int, float], test: Comparison) -> Judgement:
    """The verdict on a comparison.

    Args:
        values: The difference of each seed, in points; at least one.
        test: What it has to reach.
    """
    mean, half = fmean(values.values()), student95(list(values.values()))
    interval = "" if half is None else f" ± {half:.2f}"
    measured = f"{mean:.2f}{interval} ({_count(len(values), 'seed')})".replace("-", "−")
    verdict, why = _every_seed(values, test) if test.every_seed else _mean(values, test, mean, half)
    return Judgement(verdict, why, dict(sorted(values.items())), measured)


def _every_seed(values: Mapping[int, float], test: Comparison) -> tuple[Verdict, str]:
    below = {seed: value for seed, value in sorted(values.items()) if not test.reached_by(value)}
    if below:
        seed, value = min(below.items(), key=lambda item: item[1])
        return "refuted", f"seed {seed} gives {_points(value)}, which is not {test}"
    if len(values) < test.seeds:
        missing = test.seeds - len(values)
        return (
            "undecided",
            f"every seed so far reaches it; the study wants {_count(missing, 'more seed', 'more seeds')}",
        )
    return "confirmed", f"every seed is {test}, the lowest {_points(min(values.values()))}"


def _mean(values: Mapping[int, float], test: Comparison, mean: float, half: float | None) -> tuple[Verdict, str]:
    if half is None:
        return "undecided", f"one seed has no interval; the study wants {max(test.seeds, 2)}"
    low, high = mean - half, mean + half
    shown = f"the interval from {_points(low)} to {_points(high)}"
    if len(values) < test.seeds:
        return "undecided", f"{shown} is that of {_count(len(values), 'seed')}; the study wants {test.seeds}"
    if test.reached_by(low):
        return "confirmed", f"{shown} is {test} throughout"
    if not test.reached_by(high):
        return "refuted", f"nothing in {shown} is {test}"
    return "undecided", f"{shown} has {number(test.value)} inside; {_wanted(values, test)}"


def _wanted(values: Mapping[int, float], test: Comparison) -> str:
    needed = seeds_needed(list(values.values()), test.value)
    if needed is None:
        return "the mean itself lies at the threshold, so no number of seeds would settle it"
    if needed > MOST_SEEDS:
        return f"with this mean and spread more than {MOST_SEEDS} seeds would settle it"
    return f"with this mean and spread {needed} seeds would settle it"


def seeds_needed(values: Sequence[float], threshold: float) -> int | None:
    """How many seeds of the same mean and spread would have Student's 95 % interval exclude ``threshold``.

    The smallest such n, 2 at least; MOST_SEEDS + 1 stands for more than MOST_SEEDS. None where the mean is the
    threshold, which no number of seeds excludes. Raises ValueError for fewer than two values.
    """
    spread = seed_spread(values)
    if spread is None:
        raise ValueError("one value has no spread")
    distance = round(abs(fmean(values) - threshold), 9)
    if distance == 0:
        return None
    counts = np.arange(2, MOST_SEEDS + 1)
    enough = stdtrit(counts - 1, 0.975) * spread / np.sqrt(counts) < distance
    return int(counts[enough][0]) if enough.any() else MOST_SEEDS + 1


def judge_speed(arms: Sequence[Arm], test: SpeedTest) -> Judgement:
    """The verdict on a ratio of seconds at equal quality, which the timed numbers of steps enclose from both sides.

    Args:
        arms: FIVE first, then per-model inversion with several numbers of steps.
        test: What the ratio has to reach.

    The ratio is at most that of the first arm that is as good as FIVE, and more than that of the longest arm before it,
    which is not.
    """
    five, *others = arms
    rivals = sorted(others, key=lambda arm: arm.steps)
    first = next((place for place, arm in enumerate(rivals) if arm.as_good_as(five)), len(rivals))
    worse, good = rivals[:first][-1:], rivals[first : first + 1]
    tasks = min(arm.tasks for arm in arms)
    most = f"at most {good[0].times:.1f}" if good else ""
    least = f"more than {worse[0].times:.1f}" if worse else ""
    measured = f"{' and '.join(filter(None, [least, most])) or '–'} times ({_count(tasks, 'task')})"
    if tasks < test.tasks:
        wanted = f"timed on {_count(tasks, 'task')}; the study wants {test.tasks}"
        return Judgement("undecided", wanted, measured=measured)
    if good and not test.reached_by(good[0].times):
        why = (
            f"{good[0].steps} steps per model are as good as FIVE's {five.steps}, in {good[0].times:.1f} times the time"
        )
        return Judgement("refuted", why, measured=measured)
    if worse and test.reached_by(worse[0].times):
        why = f"{worse[0].steps} steps per model take {worse[0].times:.1f} times as long and are not as good yet"
        return Judgement("confirmed", why, measured=measured)
    span = f"more than {worse[0].steps}" if worse else "fewer"
    span += f" and fewer than {good[0].steps}" if worse and good else f" than {good[0].steps}" if good else ""
    return Judgement("undecided", f"arms of {span} steps would settle it", measured=measured)


def overall(judgements: Iterable[Judgement]) -> Verdict:
    """The verdict on a claim from those on its tests, all of which it has to pass."""
    words = [judgement.verdict for judgement in judgements]
    if "refuted" in words:
        return "refuted"
    if set(words) == {"confirmed"}:
        return "confirmed"
    return "not run" if set(words) <= {"confirmed", "not run"} else "undecided"


def _points(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _count(number_of: int, one: str, many: str | None = None) -> str:
    return f"{number_of} {one if number_of == 1 else many or f'{one}s'}"
