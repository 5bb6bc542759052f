"""What is committed below `docs/results/`: numbers of a comparison, seed by seed, and seconds. Torch-free."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from dfml.errors import DfmlError, FileFormatError
from dfml.files.reading import MEBIBYTE, read_at_most
from dfml.results.claims.declared import Comparison, SpeedTest
from dfml.results.claims.verdict import Arm
from dfml.results.collect import read_results_csv

COLUMNS = (
    *("experiment", "pool", "method", "ways", "shots", "seed", "dataset", "rule", "batch_norm"),
    *("accuracy", "ci95", "device", "git_commit", "episode_digest"),
)
"""What is read of ``results.csv``: less than all, since committed results may be of a version with other columns."""

EPISODES = "train_episodes"

CHOICES = {"split": "meta_test", "selection": "last"}
"""What a verdict is about, by column: accuracies on meta-test classes, of the last iterate."""

EQUAL = 0.05
"""By how much numbers of episodes that count as equal may differ, of the smallest: a task that is none, a last step."""


class NotMeasuredError(Exception):
    """Numbers that are not there: the message says which."""


class Shelf:
    """The folders of committed results, one for each experiment; every file is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._frames: dict[str, pd.DataFrame] = {}
        self._of_choices: set[str] = set()

    def results(self, experiment: str) -> pd.DataFrame:
        """``results.csv`` of an experiment, with COLUMNS.

        Raises NotMeasuredError where there is none, FileFormatError where it is damaged or of another experiment.
        """
        if experiment not in self._frames:
            path = self.folder / experiment / "results.csv"
            if not path.is_file():
                raise NotMeasuredError(f"{experiment} has no committed results")
            frame = read_results_csv(path, columns=COLUMNS)
            if frame["experiment"].iloc[0] != experiment:
                raise FileFormatError(
                    f"{path}: holds results of {frame['experiment'].iloc[0]}; run dfml publish again."
                )
            self._frames[experiment] = frame
        return self._frames[experiment]

    def differences(self, test: Comparison) -> dict[int, float]:
        """What each seed that all sides have gives: the weighted sum of their accuracies, in points.

        Raises:
            NotMeasuredError: a side is missing, or no seed has all sides.
            DfmlError: two sides were evaluated on different episodes, or the results are not of CHOICES.
        """
        self._refuse_choices(test.experiment)
        found = [(factor, *self._accuracies(test, method)) for factor, method in test.sides]
        if len({digest for _, _, digest in found}) > 1:
            names = " and ".join(method for _, method in test.sides)
            raise DfmlError(f"{test.experiment}: {names} were evaluated on different episodes; publish it again.")
        seeds = sorted(set.intersection(*(set(accuracies) for _, accuracies, _ in found)))
        if not seeds:
            raise NotMeasuredError("no seed has results of all that is compared")
        return {seed: sum(factor * accuracies[seed] for factor, accuracies, _ in found) for seed in seeds}

    def unequal_episodes(self, test: Comparison) -> str:
        """In what the sides do not have equal episodes, over all of their seeds; empty where they have."""
        self.results(test.experiment)  # whole, but for this column
        try:
            frame = read_results_csv(self.folder / test.experiment / "results.csv", columns=(*COLUMNS, EPISODES))
        except FileFormatError:
            return f"results of {test.experiment} do not say from how many episodes a method learned"
        frame = frame[(frame["pool"] == test.pool) & (frame["shots"] == test.shots)]
        counts = {method: frame.loc[frame["method"] == method, EPISODES].fillna(0) for _, method in test.sides}
        if max(own.max() for own in counts.values()) <= (1 + EQUAL) * min(own.min() for own in counts.values()):
            return ""
        told = [f"{name} {own.min():,.0f} to {own.max():,.0f}" for name, own in counts.items()]
        return f"they did not learn from equally many episodes: {', '.join(told)}"

    def _refuse_choices(self, experiment: str) -> None:
        self.results(experiment)  # whole, but for these columns
        if experiment in self._of_choices:
            return
        path = self.folder / experiment / "results.csv"
        frame = read_results_csv(path, columns=(*COLUMNS, *CHOICES))
        for column, wanted in CHOICES.items():
            others = sorted(set(frame[column]) - {wanted})
            if others:
                raise DfmlError(
                    f"{path}: `{column}` is {', '.join(others)}; verdicts are about {wanted}: publish such."
                )
        self._of_choices.add(experiment)

    def _accuracies(self, test: Comparison, method: str) -> tuple[dict[int, float], str]:
        """Accuracy by seed, and the digest of the episodes."""
        experiment = test.experiment
        frame = self.results(experiment)
        pool = frame[(frame["pool"] == test.pool) & (frame["shots"] == test.shots)]
        if pool.empty:
            raise NotMeasuredError(f"{experiment} has no {test.shots}-shot results of the pool {test.pool}")
        datasets = (test.dataset,) if test.dataset else tuple(sorted(pool["dataset"].unique()))
        chosen = (pool["method"] == method) & (pool["rule"] == test.rule) & (pool["batch_norm"] == test.batch_norm)
        rows = pool[chosen & pool["dataset"].isin(datasets)]
        # A seed that lacks a data set has no mean over them.
        whole = {int(seed): own for seed, own in rows.groupby("seed") if set(own["dataset"]) == set(datasets)}
        if not whole:
            where = f"{experiment}, pool {test.pool}, {test.rule}, {test.batch_norm}"
            raise NotMeasuredError(f"no results of {method} ({where})")
        (digest, *others) = rows["episode_digest"].unique()
        if others:
            raise DfmlError(f"{experiment}: seeds of {method} were evaluated on different episodes; publish it again.")
        return {seed: float(own["accuracy"].mean()) for seed, own in whole.items()}, digest

    def arms(self, test: SpeedTest) -> list[Arm]:
        """The rows of a pool in the table ``speed.csv``, FIVE first.

        Raises NotMeasuredError where there is no comparison, FileFormatError where the table is not one.
        """
        path = self.folder / test.experiment / "speed.csv"
        if not path.is_file():
            raise NotMeasuredError(f"{test.experiment} has no committed speed table")
        arms = [arm for pool, arm in _read_arms(path) if pool == test.pool]
        if len(arms) < 2 or arms[0].name != "five":
            raise NotMeasuredError(f"the speed table of {test.experiment} compares nothing in the pool {test.pool}")
        return arms

    def origin(self, experiment: str) -> str:
        """The commits and devices that an experiment's results say they are of."""
        frame = self.results(experiment)
        commits = ", ".join(sorted({commit[:10] for commit in frame["git_commit"].unique()}))
        return f"commit {commits} on {' and '.join(sorted(frame['device'].unique()))}"


def _read_arms(path: Path) -> list[tuple[str, Arm]]:
    try:
        frame = pd.read_csv(io.BytesIO(read_at_most(path, MEBIBYTE)))
        found = []
        for row in frame.itertuples():
            real = [float(row.times_first), float(row.teacher_ce), float(row.teacher_accuracy)]
            if not np.isfinite(real).all():
                raise ValueError("a number is not finite")
            found.append((str(row.pool), Arm(str(row.arm), int(row.steps), int(row.tasks), *real)))
    except (OSError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path}: cannot be read as a speed table ({error}); run dfml publish again.") from None
    return found
