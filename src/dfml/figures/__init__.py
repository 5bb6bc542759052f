"""Figures: from results.csv, records and the inversions' summaries to SVG and PNG. Torch-free, no display."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfml.figures.curves import curve_frame, learning_curves_figure
from dfml.figures.inner_steps import inner_steps_figure
from dfml.figures.main import main_figure
from dfml.figures.seconds import accuracy_seconds_figure
from dfml.figures.style import house_style, save_figure
from dfml.records import (
    GridCell,
    check_against_grid,
    read_grid,
    read_inversions,
    read_record,
    read_results_csv,
    read_speeds,
)

__all__ = ["FIGURES", "draw_figures"]

FIGURES = ("main", "learning_curves", "accuracy_seconds", "inner_steps")
"""Stems of the figures that ``draw_figures`` writes, each as .svg and .png."""


def draw_figures(
    *,
    results: Path,
    records: Sequence[Path],
    inversions: Sequence[Path],
    speeds: Sequence[Path],
    grid: Iterable[GridCell | Sequence[str | None]],
    ways: int,
    shots: Sequence[int],
    output: Path,
) -> list[Path]:
    """The whole rule: draw every figure of FIGURES into the folder ``output``; returns the files.

    ``results`` is results.csv; ``records`` are the record.json files, read for their learning curves only;
    ``inversions`` and ``speeds`` are inversion.json and speed.json files (none is fine, the figure then says
    so); ``grid`` as for ``make_tables``. Equal inputs give equal bytes. Raises DfmlError when a file is
    malformed or results.csv holds a cell that the grid does not run.
    """
    cells, frame = read_grid(grid), read_results_csv(results)
    check_against_grid(frame, cells, ways=ways, shots=shots)
    curves = curve_frame([read_record(Path(path)) for path in records])
    check_against_grid(curves, cells, ways=ways, shots=shots, source="a record")
    recovered, timings = read_inversions(inversions), read_speeds(speeds)
    pools = list(dict.fromkeys(cell.pool for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    with house_style():
        figures = {
            "main": main_figure(frame, cells, ways=ways, shots=shots),
            "learning_curves": learning_curves_figure(curves, pools=pools, methods=methods, ways=ways),
            "accuracy_seconds": accuracy_seconds_figure(frame, curves, pools=pools, methods=methods, ways=ways),
            "inner_steps": inner_steps_figure(recovered, timings, pools=pools),
        }
        return [path for stem in FIGURES for path in save_figure(figures[stem], stem, Path(output))]
