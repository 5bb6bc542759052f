"""Cross-entropy of the teacher against the step of inversion: what meta-training the generator buys."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfml.artefacts.inversion import InversionRecord, SpeedRecord
from dfml.evaluation.intervals import student95
from dfml.results.figures.style import empty_figure, panels, plain_ticks

_META_TRAINED = "five"
_LEARN_TOO = ("five", "fast")  # and their variants
_STAGES = {
    "first": ("start of meta-training", "#E69F00", (0, (5, 2))),
    "last": ("end of meta-training", "#0072B2", "-"),
}
_OTHER_COLOURS = ("#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_ARM_MARKERS = ("o", "s", "D", "^", "v")


def inner_steps_figure(
    inversions: Sequence[InversionRecord], speeds: Sequence[SpeedRecord], *, pools: Sequence[str]
) -> Figure:
    """One panel per pool: curves from the inversions' ``ce_curve``, points from the arms of the speed runs.

    A curve is the mean over seeds, its band their range; a point is the mean over tasks with its 95 %
    interval.
    """
    known = {item.pool for item in inversions} | {item.pool for item in speeds}
    shown = [pool for pool in pools if pool in known]
    if not shown:
        return empty_figure("no image was recovered in this experiment")
    figure, [axes] = panels([3.8], len(shown), width=4.6)
    for panel, pool in zip(axes, shown, strict=True):
        longest = _draw_curves(panel, [item for item in inversions if item.pool == pool])
        for speed in (speed for speed in speeds if speed.pool == pool):
            longest = max(longest, _draw_arms(panel, speed))
        if longest > 20:
            panel.set_xscale("symlog", linthresh=5.0, linscale=0.8)
            panel.set_xticks([tick for tick in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= longest])
        panel.set_yscale("log")
        plain_ticks(panel.xaxis, logarithmic=False)
        plain_ticks(panel.yaxis, logarithmic=True)
        panel.set_title(pool)
        panel.set_xlabel("inversion step")
        # Below the panel, where it hides no curve.
        panel.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.14))
    axes[0].set_ylabel("cross-entropy of the teacher")
    return figure


def _draw_curves(panel: Axes, inversions: Sequence[InversionRecord]) -> int:
    """Curves of every inverter and stage; returns the number of steps of the longest."""
    longest = 0
    others = sorted({item.inverter for item in inversions} - {_META_TRAINED})
    for inverter in dict.fromkeys(item.inverter for item in inversions):
        group = [item for item in inversions if item.inverter == inverter]
        for stage in sorted({stage for item in group for stage in item.ce_curve}):
            runs = [item.ce_curve[stage] for item in group if item.ce_curve.get(stage)]
            if inverter == _META_TRAINED:
                words, colour, line = _STAGES.get(stage, (stage, "#6b6b6b", ":"))
                label = f"{inverter}, {words}"
            elif stage == "first" and any("last" in item.ce_curve for item in group):
                # One curve of each other inverter says enough.
                continue
            else:
                learned = inverter.partition("-")[0] in _LEARN_TOO
                label, line = inverter if learned else f"{inverter}, from scratch", (0, (1, 1))
                colour = _OTHER_COLOURS[others.index(inverter) % len(_OTHER_COLOURS)]
            if not runs:
                continue
            steps = min(len(run) for run in runs)
            values = np.array([run[:steps] for run in runs])
            panel.plot(range(steps), values.mean(axis=0), color=colour, linestyle=line, label=label)
            panel.fill_between(range(steps), values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, lw=0)
            longest = max(longest, steps - 1)
    return longest


def _draw_arms(panel: Axes, speed: SpeedRecord) -> int:
    """A point per arm of the speed comparison; returns the greatest number of steps."""
    for index, arm in enumerate(speed.arms):
        panel.errorbar(
            arm.steps,
            fmean(arm.teacher_ce),
            yerr=student95(arm.teacher_ce),
            color="#222222",
            marker=_ARM_MARKERS[index % len(_ARM_MARKERS)],
            markersize=6.0,
            markerfacecolor="white",
            linestyle="",
            capsize=2.0,
            elinewidth=1.0,
            label=f"{arm.name}, {arm.steps} steps: {fmean(arm.seconds_per_task):.2g} s per task",
        )
    return max(arm.steps for arm in speed.arms)
