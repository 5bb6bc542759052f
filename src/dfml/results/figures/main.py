"""The main figure: accuracy of every method, with intervals, single seeds and the chance line."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dfml.results.figures.style import (
    INK,
    QUIET,
    RULE_COLOURS,
    chance_handle,
    chance_line,
    panels,
    shared_legend,
    starred_label,
)
from dfml.results.grid import NOT_APPLICABLE, NOT_RUN, GridCell
from dfml.results.labels import BATCH_NORMS, RULES, in_order, rule_label, split_label
from dfml.results.summary import average_over_seeds, datasets_of, with_domain_means

_BAR = 0.8
"""Part of a method's row that its bars fill."""
_ALPHA = 0.75


def main_figure(frame: pd.DataFrame, grid: Sequence[GridCell], *, ways: int, shots: Sequence[int]) -> Figure:
    """Bars of the mean over seeds, one panel per (shots, pool, data set) and batch norm.

    ``frame`` has RESULT_COLUMNS and fits the grid. Error bars are 95 % intervals over episodes as in the
    main table; dots are single seeds.
    """
    frame = with_domain_means(frame)
    means = average_over_seeds(frame)
    rules = in_order(frame["rule"], RULES)
    modes = in_order(frame["batch_norm"], BATCH_NORMS)
    places = [
        (count, pool, dataset)
        for count in shots
        for pool in dict.fromkeys(cell.pool for cell in grid)
        if any(cell.pool == pool and cell.wants(count) for cell in grid)
        for dataset in datasets_of(frame, pool) or [""]
    ]
    shown = [[cell for cell in grid if cell.pool == pool and cell.wants(count)] for count, pool, _ in places]
    heights = [0.75 + len(cells) * (0.12 + 0.16 * len(rules)) for cells in shown]
    figure, axes = panels(heights, len(modes), width=5.2)
    right = 1.12 * max((frame["accuracy"] + frame["ci95"]).max(), 100 / ways)
    for row, ((count, pool, dataset), cells) in enumerate(zip(places, shown, strict=True)):
        for column, mode in enumerate(modes):
            panel = axes[row][column]
            _frame_panel(panel, cells, ways=ways, right=min(right, 112.0))
            where = ", ".join(part for part in (pool, dataset) if part)
            panel.set_title(f"{where}\n{ways}-way {count}-shot, batch norm: {mode}")
            for position, cell in enumerate(cells):
                own = {
                    name: _at(part, cell, count, dataset, mode) for name, part in (("means", means), ("seeds", frame))
                }
                _draw_method(panel, position, cell, rules, **own)
            if column:
                panel.set_yticklabels([])
            if row == len(places) - 1:
                panel.set_xlabel(f"{split_label(frame)} accuracy (%)")
    shared_legend(
        figure,
        _handles(rules),
        methods=[cell.method for cell in grid],
        note="mean over seeds; whiskers: 95% interval over episodes",
    )
    return figure


def _at(frame: pd.DataFrame, cell: GridCell, shots: int, dataset: str, mode: str) -> pd.DataFrame:
    """The rows of one method in one panel."""
    chosen = (frame["pool"] == cell.pool) & (frame["method"] == cell.method) & (frame["shots"] == shots)
    return frame[chosen & (frame["dataset"] == dataset) & (frame["batch_norm"] == mode)]


def _frame_panel(panel: Axes, cells: Sequence[GridCell], *, ways: int, right: float) -> None:
    """Axes, the methods' names (first at the top) and the chance line."""
    panel.set_xlim(0, right)
    panel.set_ylim(len(cells) - 0.5, -0.5)
    panel.set_yticks(range(len(cells)), [starred_label(cell.method) for cell in cells])
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    chance_line(panel, ways, vertical=True)


def _draw_method(
    panel: Axes,
    position: int,
    cell: GridCell,
    rules: Sequence[str],
    *,
    means: pd.DataFrame,
    seeds: pd.DataFrame,
) -> None:
    """The bars of one method, or the words that stand for them."""
    if means.empty:
        words = NOT_RUN if cell.reason is None else NOT_APPLICABLE
        panel.text(0.8, position, words, va="center", color=QUIET, fontstyle="italic", fontsize=8)
        return
    height = _BAR / len(rules)
    for row in means.itertuples():
        place = position - _BAR / 2 + (rules.index(row.rule) + 0.5) * height
        colour = RULE_COLOURS.get(row.rule, QUIET)
        panel.barh(place, row.accuracy, height=0.9 * height, color=colour, alpha=_ALPHA, linewidth=0)
        # Interval and seeds lie side by side within the bar: on one line they would hide each other.
        panel.errorbar(row.accuracy, place - 0.2 * height, xerr=row.ci95, color=INK, capsize=1.8, linewidth=1.0)
        own = seeds.loc[seeds["rule"] == row.rule, "accuracy"]
        if len(own) > 1:
            panel.scatter(
                own,
                [place + 0.2 * height] * len(own),
                s=7,
                color="white",
                edgecolors=INK,
                linewidths=0.5,
                zorder=3,
            )
        end = max(row.accuracy + row.ci95, own.max())
        panel.text(
            end + 0.9,
            place,
            f"{row.accuracy:.1f}",
            va="center",
            fontsize=6.5,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
        )


def _handles(rules: Sequence[str]) -> list[Patch | Line2D]:
    """Legend entries: the rules' colours, the interval, a single seed, chance."""
    bars = [Patch(color=RULE_COLOURS.get(rule, QUIET), alpha=_ALPHA, label=rule_label(rule)) for rule in rules]
    return [
        *bars,
        Line2D([], [], color=INK, marker="|", markersize=6, linewidth=1.0, label="95% interval"),
        Line2D([], [], color="white", marker="o", markeredgecolor=INK, markersize=3.5, label="one seed"),
        chance_handle(),
    ]
