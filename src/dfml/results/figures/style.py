"""One look for all figures, and files whose bytes depend on nothing but the numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from dfml.catalogue import entry
from dfml.files.atomic import atomic_write
from dfml.results.labels import OTHER_DOMAIN, REAL_IMAGES, in_order, method_label, real_images_note

INK, QUIET, GRID = "#222222", "#6b6b6b", "#dddddd"
_DASHES = (0, (4, 3))
_FOOTER = 0.6
_LEGEND_ENTRY = 2.15
_NARROWEST = 5.2
"""Inches."""

RULE_COLOURS = {
    "finetune": "#0072B2",
    "centroid_euclidean": "#E69F00",
    "centroid_cosine": "#009E73",
}
"""Okabe and Ito's palette, told apart with every common colour blindness, as are the colours below."""


@dataclass(frozen=True)
class MethodStyle:
    """Colour and marker of one method; both together tell it apart."""

    colour: str
    marker: str


_OTHERS = [MethodStyle(colour, marker) for colour in ("#CC6677", "#999999") for marker in "8dpso^vDP<>hH"]

_MARKS = {REAL_IMAGES: "*", OTHER_DOMAIN: "†"}
"""Marks of methods outside the data-free wall."""

_SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "savefig.dpi": 150,
    # Identifiers inside an SVG are random without a fixed salt; text as paths needs no font of the reader's.
    "svg.hashsalt": "dfml",
    "svg.fonttype": "path",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults plus ours, whatever the user's own matplotlibrc says; restored afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """A style per method, in table order; the same for a known method in every figure."""
    unstyled = sorted(name for name in methods if not entry(name).colour)
    others = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(unstyled)}
    return {
        name: others.get(name) or MethodStyle(entry(name).colour, entry(name).marker)
        for name in in_order(methods, methods)
    }


def panels(heights: Sequence[float], columns: int, *, width: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a row of panels per entry of ``heights`` and room for a legend; sizes in inches."""
    figure = Figure(figsize=(max(columns * width, _NARROWEST), sum(heights) + _FOOTER), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    return figure, [list(row) for row in axes]


def chance_line(panel: Axes, ways: int, *, vertical: bool = False) -> None:
    """The accuracy of guessing, 100 / ``ways`` percent."""
    draw = panel.axvline if vertical else panel.axhline
    draw(100 / ways, color=INK, linestyle=_DASHES, linewidth=1.0)


def chance_handle() -> Line2D:
    """Legend entry of the chance line."""
    return Line2D([], [], color=INK, linestyle=_DASHES, linewidth=1.0, label="chance")


def seconds_axis(panel: Axes, longest: float) -> None:
    """Seconds from none to ``longest``: some methods take none, so linear below one second, logarithmic above."""
    panel.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    panel.set_xlim(-0.1, 2.0 * max(1.0, longest))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def plain_ticks(axis: Axis, *, logarithmic: bool) -> None:
    """Numbers as they are spoken, without powers of ten; at 1, 2 and 5 of each decade of a logarithmic axis."""
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def starred_label(method: str) -> str:
    """The method's name as printed, with a mark when it reads real images."""
    return method_label(method) + _MARKS.get(real_images_note(method), "")


def shared_legend(figure: Figure, handles: Sequence[Artist], *, methods: Sequence[str], note: str) -> None:
    """One legend below all panels, headed by ``note`` and by what the mark of a method means."""
    notes = {real_images_note(name) for name in methods}
    marked = [f"{mark} {meaning}" for meaning, mark in _MARKS.items() if meaning in notes]
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(len(handles), max(1, int(figure.get_figwidth() / _LEGEND_ENTRY))),
        fontsize=8,
        title="\n".join([note, *marked]),
        title_fontsize=8,
    )


def empty_figure(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, [[axes]] = panels([2.0], 1, width=6.0)
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", color=QUIET, transform=axes.transAxes)
    return figure


def save_figure(figure: Figure, stem: str, folder: Path) -> list[Path]:
    """Write ``{stem}.svg`` and ``{stem}.png`` into ``folder``; equal figures give equal bytes."""
    # A date would change the file on every run; a PNG's only changing entry is the library's version.
    metadata = {"svg": {"Date": None}, "png": {"Software": None}}
    paths = []
    for suffix, entries in metadata.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=entries)
        path = Path(folder) / f"{stem}.{suffix}"
        atomic_write(path, buffer.getvalue())
        paths.append(path)
    return paths
