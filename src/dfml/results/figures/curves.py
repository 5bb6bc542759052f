"""Learning curves: meta-validation accuracy of every method while it learns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dfml.artefacts.cell import CellFacts
from dfml.artefacts.record import CurvePoint, Record
from dfml.results.figures.style import (
    MethodStyle,
    chance_handle,
    chance_line,
    empty_figure,
    method_styles,
    panels,
    seconds_axis,
    shared_legend,
    starred_label,
)
from dfml.results.labels import BATCH_NORMS, RULES, in_order, rule_label


def curve_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Every curve point of every record, with the facts of the record's cell.

    Seconds count from before the images were recovered that the method started from.
    """
    rows = [
        {
            **record.fields_of(CellFacts),
            **point.fields_of(CurvePoint),
            "seconds": point.seconds + record.bank_seconds,
        }
        for record in records
        for point in record.curve
    ]
    return pd.DataFrame(rows, columns=[*CellFacts.model_fields, *CurvePoint.model_fields])


def seed_band(series: pd.DataFrame) -> pd.DataFrame:
    """Mean, least and greatest accuracy over seeds at each iteration, and the mean seconds.

    ``series`` is one method under one rule and mode. Only iterations that every seed reached are kept: a mean
    over fewer seeds than its neighbours would make the curve jump.
    """
    reached = series.groupby("iteration")["seed"].nunique()
    common = reached.index[reached == series["seed"].nunique()]
    points = series[series["iteration"].isin(common)].groupby("iteration")
    return pd.DataFrame(
        {
            "mean": points["accuracy"].mean(),
            "least": points["accuracy"].min(),
            "greatest": points["accuracy"].max(),
            "seconds": points["seconds"].mean(),
        }
    ).reset_index()


def first_mode(frame: pd.DataFrame) -> str:
    """The batch-norm mode that curves are drawn for: the first recorded one, transductive if there."""
    return in_order(frame["batch_norm"], BATCH_NORMS)[0]


def learning_curves_figure(curves: pd.DataFrame, *, pools: Sequence[str], methods: Sequence[str], ways: int) -> Figure:
    """One panel per (pool, shots) and adaptation rule; ``curves`` comes from ``curve_frame``.

    They run over seconds: an iteration is hundreds of episodes to one method and four to another.
    """
    if curves.empty:
        return empty_figure("no learning curve was recorded in this experiment")
    mode = first_mode(curves)
    curves = curves[curves["batch_norm"] == mode]
    styles = method_styles(methods)
    rules = in_order(curves["rule"], RULES)
    pairs = set(zip(curves["pool"], curves["shots"], strict=True))
    places = sorted(pairs, key=lambda pair: (pair[1], pools.index(pair[0])))
    figure, axes = panels([2.9] * len(places), len(rules), width=3.9)
    for row, (pool, shots) in enumerate(places):
        for column, rule in enumerate(rules):
            panel = axes[row][column]
            chosen = (curves["pool"] == pool) & (curves["shots"] == shots) & (curves["rule"] == rule)
            for method, style in styles.items():
                series = curves[chosen & (curves["method"] == method)]
                if not series.empty:
                    band = seed_band(series)
                    panel.plot(
                        band["seconds"],
                        band["mean"],
                        color=style.colour,
                        marker=style.marker,
                        markersize=4.5,
                    )
                    panel.fill_between(
                        band["seconds"],
                        band["least"],
                        band["greatest"],
                        color=style.colour,
                        alpha=0.18,
                        lw=0,
                    )
            chance_line(panel, ways)
            seconds_axis(panel, curves["seconds"].max())
            panel.set_title(f"{pool}, {ways}-way {shots}-shot\n{rule_label(rule)}")
            panel.set_xlabel("seconds of inversion and learning" if row == len(places) - 1 else "")
            panel.set_ylabel("" if column else "meta-val accuracy (%)")
        share_limits(axes[row])
    shown = {method: style for method, style in styles.items() if method in set(curves["method"])}
    shared_legend(
        figure,
        [*method_handles(shown), chance_handle()],
        methods=list(shown),
        note=f"mean and range over seeds; batch norm: {mode}",
    )
    return figure


def method_handles(styles: dict[str, MethodStyle]) -> list[Line2D]:
    """Legend entries of methods."""
    return [
        Line2D([], [], color=style.colour, marker=style.marker, markersize=5.5, label=starred_label(method))
        for method, style in styles.items()
    ]


def share_limits(row: Sequence) -> None:
    """Give the panels of one row the same vertical limits, so that they can be compared."""
    low = min(panel.get_ylim()[0] for panel in row)
    high = max(panel.get_ylim()[1] for panel in row)
    for panel in row:
        panel.set_ylim(low, high)
