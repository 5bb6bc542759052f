"""Quality against seconds: what ways of inversion cost, how good their images are, and what is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfml.artefacts.inversion import InversionRecord
from dfml.results.figures.curves import first_mode, method_handles
from dfml.results.figures.style import (
    INK,
    MethodStyle,
    empty_figure,
    method_styles,
    panels,
    plain_ticks,
    shared_legend,
)
from dfml.results.labels import RULES, in_order, rule_label, split_label
from dfml.results.summary import datasets_of, with_domain_means

_QUALITIES = {"teacher_ce": "cross-entropy of the teacher", "independent_accuracy": "independent accuracy (%)"}
_IMAGES = MethodStyle(INK, "o")


def bank_quality_figure(
    inversions: Sequence[InversionRecord], frame: pd.DataFrame, *, pools: Sequence[str], methods: Sequence[str]
) -> Figure:
    """A row per pool that recovers images in several ways: their quality, and the learners made of them.

    A mark is the mean over seeds, its bar their range; it has the name of the variant. ``frame`` has RESULT_COLUMNS;
    its accuracies are those of the first rule and batch-norm mode, over the pool's data sets, at each number of shots.
    """
    found = pd.DataFrame(
        [item.model_dump(include={"pool", "inverter", "seed", "seconds", *_QUALITIES}) for item in inversions],
        columns=["pool", "inverter", "seed", "seconds", *_QUALITIES],
    )
    counts = found.groupby("pool")["inverter"].nunique()
    shown = [pool for pool in pools if counts.get(pool, 0) > 1]
    if not shown:
        return empty_figure("images were recovered in one way at most: there is nothing to compare")
    mode, learned = first_mode(frame), with_domain_means(frame[frame["bank_seconds"] > 0])
    rule = (in_order(learned["rule"], RULES) or [""])[0]
    learned = learned[(learned["batch_norm"] == mode) & (learned["rule"] == rule)]
    shots = sorted(learned["shots"].unique())
    # Variants of a method differ by their names beside the marks.
    styles = method_styles(list(dict.fromkeys(_plain(name) for name in methods if name in set(learned["method"]))))
    figure, axes = panels([3.2] * len(shown), len(_QUALITIES) + len(shots), width=3.7)
    for row, pool in zip(axes, shown, strict=True):
        own = found[found["pool"] == pool]
        for panel, (quality, words) in zip(row, _QUALITIES.items(), strict=False):
            for name, seeds in own.groupby("inverter", sort=False):
                _mark(panel, seeds["seconds"], seeds[quality], str(name), _IMAGES)
            panel.set_ylabel(words)
        of_pool = learned[learned["pool"] == pool]
        of_pool = of_pool[of_pool["dataset"].isin(datasets_of(of_pool, pool)[-1:])]
        for panel, count in zip(row[len(_QUALITIES) :], shots, strict=True):
            for name, seeds in of_pool[of_pool["shots"] == count].groupby("method", sort=False):
                _mark(panel, seeds["bank_seconds"], seeds["accuracy"], str(name), styles[_plain(str(name))])
            panel.set_ylabel(f"{split_label(frame)} accuracy (%), {count}-shot")
        row[0].set_yscale("log")
        plain_ticks(row[0].yaxis, logarithmic=True)
        for panel in row:
            panel.set_xscale("log")
            panel.set_xlim(own["seconds"].min() / 2, own["seconds"].max() * 2)
            plain_ticks(panel.xaxis, logarithmic=True)
            panel.set_title(pool)
            panel.set_xlabel("seconds of inversion" if pool == shown[-1] else "")
    shared_legend(
        figure,
        method_handles(styles),
        methods=list(styles),
        note=f"mean and range over seeds; learners by {rule_label(rule)}, batch norm: {mode}",
    )
    return figure


def _plain(name: str) -> str:
    return name.partition("-")[0]


def _mark(panel: Axes, seconds: pd.Series, values: pd.Series, name: str, style: MethodStyle) -> None:
    """A mark with its bar; none where a quality was not measured for some seed."""
    if values.isna().any():
        return
    x, y = seconds.mean(), values.mean()
    bar = [[y - values.min()], [values.max() - y]]
    panel.errorbar(x, y, yerr=bar, color=style.colour, marker=style.marker, markersize=6.0, capsize=2.0, elinewidth=1.0)
    words = name.partition("-")[2] or name
    panel.annotate(words, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7, color=style.colour)
