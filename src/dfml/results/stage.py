"""The `make_results` stage: every table and every figure of an experiment. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from dfml.artefacts.imported_zoo import load_any_zoo
from dfml.artefacts.zoo import ZooManifest
from dfml.results.collect import read_records, read_results_csv
from dfml.results.figures.bank_quality import bank_quality_figure
from dfml.results.figures.curves import curve_frame, learning_curves_figure
from dfml.results.figures.inner_steps import inner_steps_figure
from dfml.results.figures.main import main_figure
from dfml.results.figures.recovered import recovered_figure
from dfml.results.figures.seconds import accuracy_seconds_figure
from dfml.results.figures.style import house_style, save_figure
from dfml.results.first_page import write_first_page
from dfml.results.grid import GridCell, check_against_grid, read_grid
from dfml.results.published import load_published
from dfml.results.reading import read_imported_zoos, read_inversions, read_speeds, read_zoos
from dfml.results.tables.accuracy import by_seed_table, main_table
from dfml.results.tables.cost import cost_table
from dfml.results.tables.difference import difference_table
from dfml.results.tables.inversion import inversion_table
from dfml.results.tables.published import published_table
from dfml.results.tables.selection import selection_table
from dfml.results.tables.short import short_table
from dfml.results.tables.speed import speed_table
from dfml.results.tables.table import Table
from dfml.results.tables.writing import write_table
from dfml.results.tables.zoo import zoo_table

T = TypeVar("T")

TABLES = (
    *("main", "short", "difference", "main_by_seed", "selection"),
    *("zoo", "inversion", "speed", "cost", "published"),
)
"""Stems of the tables that ``make_tables`` writes, each as .csv, .md, .tex and .html."""


@dataclass(frozen=True)
class Measurements:
    """What tables and figures are made of.

    Attributes:
        frame: results.csv.
        curves: The learning curves of the records, as of :func:`dfml.results.figures.curves.curve_frame`.
        grid: The rows of the tables in order.
        ways, shots: Of the experiment.
    """

    frame: pd.DataFrame
    curves: pd.DataFrame
    grid: Sequence[GridCell]
    ways: int
    shots: Sequence[int]

    @classmethod
    def read(
        cls,
        results: Path,
        records: Sequence[Path],
        *,
        grid: Iterable[Sequence[Any]],
        ways: int,
        shots: Sequence[int],
        shared: Iterable[Sequence[Any]] = (),
    ) -> Measurements:
        """Read results.csv, and of the record.json files the curves.

        ``grid`` as for :func:`dfml.results.grid.read_grid`, ``shared`` as for
        :func:`dfml.results.collect.read_records`. Raises DfmlError when a file is malformed or holds a cell that the
        grid does not run.
        """
        cells, frame = read_grid(grid), read_results_csv(results)
        check_against_grid(frame, cells, ways=ways, shots=shots)
        curves = curve_frame([record for _, record in read_records(records, shared)])
        check_against_grid(curves, cells, ways=ways, shots=shots, source="a record")
        return cls(frame, curves, cells, ways, shots)

    @property
    def pools(self) -> list[str]:
        """The pools in the order of the tables."""
        return list(dict.fromkeys(cell.pool for cell in self.grid))

    @property
    def methods(self) -> list[str]:
        """The methods in the order of the tables."""
        return list(dict.fromkeys(cell.method for cell in self.grid))

    def of_accuracies(self, make: Callable[..., T]) -> T:
        """What ``make`` makes of the accuracies: a table or a figure."""
        return make(self.frame, self.grid, ways=self.ways, shots=self.shots)


def make_tables(
    measured: Measurements,
    *,
    zoos: Sequence[Path],
    imported: Sequence[Path],
    inversions: Sequence[Path],
    speeds: Sequence[Path],
    published: Path,
    output: Path,
) -> list[Path]:
    """Write every table of TABLES into the folder ``output``; returns the files.

    ``zoos``, those that are ``imported``, ``inversions`` and ``speeds`` are zoo.json, inversion.json and speed.json
    files (none is fine, the table then says so); ``published`` is resources/published.yaml. Raises DfmlError when a
    file is malformed.
    """
    pools, methods, manifests = measured.pools, measured.methods, read_zoos(zoos)
    quoted = load_published(published)
    tables = [
        *map(measured.of_accuracies, (main_table, short_table, difference_table, by_seed_table)),
        selection_table(measured.curves, pools=pools, methods=methods),
        *_image_tables(manifests, imported, inversions, pools),
        speed_table(read_speeds(speeds), pools=pools),
        measured.of_accuracies(cost_table),
        published_table(measured.frame, measured.grid, manifests, quoted, ways=measured.ways, shots=measured.shots),
    ]
    return [path for table in tables for path in write_table(table, Path(output))]


def make_quality_tables(
    *, zoos: Sequence[Path], imported: Sequence[Path], inversions: Sequence[Path], pools: Sequence[str], output: Path
) -> list[Path]:
    """The whole rule: the tables of zoos and recovered images alone, where no learner is measured; as `make_tables`."""
    tables = _image_tables(read_zoos(zoos), imported, inversions, pools)
    return [path for table in tables for path in write_table(table, Path(output))]


def _image_tables(
    zoos: Sequence[ZooManifest], imported: Sequence[Path], inversions: Sequence[Path], pools: Sequence[str]
) -> list[Table]:
    return [
        zoo_table(zoos, read_imported_zoos(imported)),
        inversion_table(read_inversions(inversions), pools=pools),
    ]


FIGURES = ("main", "learning_curves", "accuracy_seconds", "inner_steps", "bank_quality", "recovered")
"""Stems of the figures that ``draw_figures`` writes, each as .svg and .png."""


def draw_figures(
    measured: Measurements,
    *,
    inversions: Sequence[Path],
    speeds: Sequence[Path],
    output: Path,
    bank: Path | None = None,
    bank_zoos: Sequence[Path] = (),
    label_space: str = "global",
) -> list[Path]:
    """Draw every figure of FIGURES into the folder ``output``; returns the files.

    ``inversions`` and ``speeds`` are inversion.json and speed.json files (none is fine, the figure then says
    so); ``bank``, ``bank_zoos`` (zoo.json files) and ``label_space`` as for
    :func:`dfml.results.figures.recovered.recovered_figure`. Equal inputs give equal bytes. Raises DfmlError when a file
    is malformed.
    """
    frame, curves, ways = measured.frame, measured.curves, measured.ways
    pools, methods = measured.pools, measured.methods
    recovered, timings = read_inversions(inversions), read_speeds(speeds)
    shown = [load_any_zoo(path) for path in bank_zoos]
    with house_style():
        figures = {
            "main": measured.of_accuracies(main_figure),
            "learning_curves": learning_curves_figure(curves, pools=pools, methods=methods, ways=ways),
            "accuracy_seconds": accuracy_seconds_figure(frame, curves, pools=pools, methods=methods, ways=ways),
            "inner_steps": inner_steps_figure(recovered, timings, pools=pools),
            "bank_quality": bank_quality_figure(recovered, frame, pools=pools, methods=methods),
            "recovered": recovered_figure(bank, shown, label_space=label_space),
        }
        return [path for stem in FIGURES for path in save_figure(figures[stem], stem, Path(output))]


def make_first_page(measured: Measurements, *, figures: Path, output: Path) -> None:
    """The first page of the report: the short table, and the figures in a folder."""
    write_first_page(measured.of_accuracies(short_table), figures, output)
