"""Means over seeds and over data sets: what tables print, figures draw and runs are compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dfml.artefacts.metrics import Metrics
from dfml.evaluation.intervals import combine_intervals, seed_spread, student95
from dfml.results.collect import read_results_csv

MEASURED = ["pool", "dataset", "ways", "shots", "method", "rule", "batch_norm"]
"""What identifies one measured accuracy, seeds apart."""

_MEAN = "mean of "


def with_domain_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Add, on pools evaluated on several data sets, the mean over them as one more data set.

    The data sets have images of their own, so the interval of their mean is √(Σ ci²) / n, nearly
    (:func:`dfml.evaluation.intervals.combine_intervals`). A cell that was
    not evaluated on every data set of its pool gets no mean.
    """
    key = ["experiment", "pool", "method", "ways", "shots", "seed", "rule", "batch_norm"]
    added = []
    for _, pool in frame.groupby("pool"):
        count = pool["dataset"].nunique()
        if count == 1:
            continue
        for _, rows in pool.groupby(key):
            if len(rows) == count:
                row = rows.iloc[0].copy()
                row["dataset"] = f"{_MEAN}{count}"
                row["accuracy"] = rows["accuracy"].mean()
                row["ci95"] = combine_intervals(rows["ci95"])
                row["over_best"] = rows["over_best"].mean(skipna=False)
                row["over_best_ci95"] = combine_intervals(rows["over_best_ci95"])
                added.append(row)
    return pd.concat([frame, pd.DataFrame(added)], ignore_index=True) if added else frame


def average_over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (pool, data set, shots, method, rule, batch norm): means, intervals, the spread and number of seeds.

    The difference to the best model has two intervals: ``over_best_ci95`` over episodes and ``over_best_t95`` over
    seeds, by Student's t and missing for one seed. A difference that some seed lacks is missing.
    """
    rows = []
    for key, group in frame.groupby(MEASURED, sort=True):
        rows.append(
            {
                **dict(zip(MEASURED, key, strict=True)),
                "accuracy": group["accuracy"].mean(),
                "ci95": combine_intervals(group["ci95"]),
                "seed_sd": seed_spread(group["accuracy"]),
                "seeds": len(group),
                "over_best": group["over_best"].mean(skipna=False),
                "over_best_ci95": combine_intervals(group["over_best_ci95"]),
                "over_best_t95": student95(group["over_best"]),
            }
        )
    return pd.DataFrame(rows)


def told_apart(difference: float, half_width: float | None) -> bool:
    """Whether an interval supports the sign of a difference; none does where there is no interval (None, NaN)."""
    return half_width is not None and abs(difference) > half_width


def leaders(frame: pd.DataFrame) -> set[tuple[Any, ...]]:
    """Keys (MEASURED) of the methods of highest mean over seeds, and of all that are not told apart from them.

    Within a place (pool, data set, shots, rule, batch norm) each method is compared with the one of highest mean: they
    are told apart where Student's 95 % interval over seeds of their paired difference excludes zero. A place with one
    seed has no leaders, nor has one where nothing is told apart. Methods that lack a seed take no part.

    ``frame`` has RESULT_COLUMNS, a row per seed.
    """
    found = set()
    for _, rows in frame.groupby([name for name in MEASURED if name != "method"]):
        accuracies = rows.pivot(index="seed", columns="method", values="accuracy").dropna(axis=1)
        if accuracies.empty:
            continue
        gaps = accuracies.rsub(accuracies[accuracies.mean().idxmax()], axis=0)
        behind = {method for method in gaps if told_apart(gaps[method].mean(), student95(gaps[method]))}
        if behind:
            level = rows[rows["method"].isin(set(accuracies) - behind)]
            found |= set(level[MEASURED].itertuples(index=False, name=None))
    return found


def datasets_of(frame: pd.DataFrame, pool: str) -> list[str]:
    """The data sets that ``pool`` was evaluated on, by name, their mean (if any) last."""
    names = frame.loc[frame["pool"] == pool, "dataset"].unique()
    return sorted(names, key=lambda name: (name.startswith(_MEAN), name))


def write_metrics(results: Path, output: Path) -> None:
    """Write the mean accuracy over seeds, in percent, of every row of ``results`` (results.csv) as JSON.

    Nested as pool, method, shots, data set, and the adaptation rule with its batch-norm mode; rounded to
    two decimals, so that comparisons of runs show what readers of the tables see.
    """
    metrics: dict[str, Any] = {}
    for row in average_over_seeds(read_results_csv(results)).itertuples():
        node = metrics
        for key in (row.pool, row.method, f"{row.shots}shot", row.dataset):
            node = node.setdefault(key, {})
        node[f"{row.rule}_{row.batch_norm}"] = round(row.accuracy, 2)
    Metrics(metrics).save(output)
