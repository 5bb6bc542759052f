"""Accuracy against seconds: what a method reaches, and what it takes to get there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dfml.results.figures.curves import first_mode, method_handles, seed_band, share_limits
from dfml.results.figures.style import (
    QUIET,
    MethodStyle,
    chance_handle,
    chance_line,
    method_styles,
    panels,
    seconds_axis,
    shared_legend,
)
from dfml.results.labels import RULES, in_order, rule_label, split_label
from dfml.results.summary import average_over_seeds, datasets_of, with_domain_means


def accuracy_seconds_figure(
    frame: pd.DataFrame, curves: pd.DataFrame, *, pools: Sequence[str], methods: Sequence[str], ways: int
) -> Figure:
    """Markers: accuracy at the end, with its interval; lines: meta-val accuracy on the way.

    ``frame`` has RESULT_COLUMNS, ``curves`` comes from ``curve_frame`` (may be empty). One panel per
    (pool, data set, shots) and adaptation rule, all under one batch-norm mode.
    """
    frame = with_domain_means(frame)
    mode = first_mode(frame)
    frame, curves = frame[frame["batch_norm"] == mode], curves[curves["batch_norm"] == mode]
    styles = method_styles(methods)
    rules = in_order(frame["rule"], RULES)
    places = [
        (shots, pool, dataset)
        for shots in sorted(frame["shots"].unique())
        for pool in pools
        for dataset in datasets_of(frame[frame["shots"] == shots], pool)
    ]
    # As the curves do, markers count the bank that a method started from.
    frame = frame.assign(seconds=frame["train_seconds"] + frame["bank_seconds"])
    longest = max([frame["seconds"].max(), *curves["seconds"]])
    figure, axes = panels([2.9] * len(places), len(rules), width=3.9)
    for row, (shots, pool, dataset) in enumerate(places):
        finals = frame[(frame["pool"] == pool) & (frame["dataset"] == dataset) & (frame["shots"] == shots)]
        on_the_way = curves[(curves["pool"] == pool) & (curves["shots"] == shots)]
        if dataset != datasets_of(frame, pool)[-1]:  # curves are means over data sets, as the last row of a pool is
            on_the_way = on_the_way.iloc[:0]
        for column, rule in enumerate(rules):
            panel = axes[row][column]
            _draw_lines(panel, on_the_way[on_the_way["rule"] == rule], styles)
            _draw_finals(panel, finals[finals["rule"] == rule], styles)
            chance_line(panel, ways)
            seconds_axis(panel, longest)
            panel.set_title(f"{pool}, {dataset}, {ways}-way {shots}-shot\n{rule_label(rule)}")
            panel.set_xlabel("seconds of inversion and learning" if row == len(places) - 1 else "")
            panel.set_ylabel("" if column else "accuracy (%)")
        share_limits(axes[row])
    shown = {method: style for method, style in styles.items() if method in set(frame["method"])}
    meanings = [
        Line2D([], [], color=QUIET, marker="o", linestyle="", label=f"{split_label(frame)} at the end"),
        Line2D([], [], color=QUIET, linewidth=1.0, label="meta-val on the way"),
        chance_handle(),
    ]
    shared_legend(
        figure,
        [*method_handles(shown), *meanings],
        methods=list(shown),
        note=f"mean over seeds ± 95% interval over episodes; batch norm: {mode}",
    )
    return figure


def _draw_lines(panel: Axes, curves: pd.DataFrame, styles: dict[str, MethodStyle]) -> None:
    """Thin lines of the mean over seeds while learning."""
    for method, style in styles.items():
        series = curves[curves["method"] == method]
        if not series.empty:
            band = seed_band(series)
            panel.plot(band["seconds"], band["mean"], color=style.colour, linewidth=1.0, alpha=0.8)


def _draw_finals(panel: Axes, finals: pd.DataFrame, styles: dict[str, MethodStyle]) -> None:
    """A marker per method at its mean seconds and mean accuracy."""
    if finals.empty:
        return
    seconds = finals.groupby("method")["seconds"].mean()
    for mean in average_over_seeds(finals).itertuples():
        style = styles[mean.method]
        panel.errorbar(
            seconds[mean.method],
            mean.accuracy,
            yerr=mean.ci95,
            color=style.colour,
            marker=style.marker,
            markersize=11.0 if style.marker == "*" else 7.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=2.0,
            elinewidth=1.0,
        )
