"""`dfml compare`: results of several experiments side by side, with the settings in which they differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dfml.errors import DfmlError
from dfml.files.atomic import atomic_write
from dfml.results.labels import BATCH_NORMS, RULES, in_order, method_label, rule_label

if TYPE_CHECKING:
    import pandas as pd


# Columns of settings that fit beside the numbers.
_MOST_SETTINGS = 4


def run(console: Console, folders: Sequence[Path], *, output: Path | None) -> int:
    """The command: a table, or with ``output`` a CSV file of every number.

    Of the paths that a shell makes of `results/*`, plain files are passed over.

    Raises:
        DfmlError: an experiment is not there or not finished, or there is none.
    """
    from dfml.results.compare import join_experiments  # pandas takes a second, which no other command should wait

    chosen = [folder for folder in folders if not os.path.isfile(folder)]
    if not chosen:
        raise DfmlError("give folders of experiments, such as results/demo")
    frame, settings = join_experiments(chosen)
    if output is not None:
        atomic_write(output, frame.to_csv(index=False, lineterminator="\n").encode("utf-8"))
        console.print(f"{output}: {len(frame)} rows of {len(chosen)} experiments.", markup=False, soft_wrap=True)
        return 0
    console.print(_table(frame, settings))
    return 0


def _table(frame: pd.DataFrame, settings: Sequence[str]) -> Table:
    """Accuracy by rule under the first batch-norm mode, a row per place, method and experiment."""
    mode = in_order(frame["batch_norm"], BATCH_NORMS)[0]
    frame = frame[frame["batch_norm"] == mode]
    rules = in_order(frame["rule"], RULES)
    same = [name for name in ("pool", "dataset", "shots") if frame[name].nunique() == 1]
    places = [name for name in ("pool", "dataset", "shots") if name not in same]
    # Without settings that differ, or with too many for a page, their names are what tells experiments apart.
    named = not 0 < len(settings) <= _MOST_SETTINGS
    told_by = ["experiment"] if named else [f"setting {key}" for key in settings]
    fixed = ", ".join(f"{name} {frame[name].iloc[0]}" for name in same)
    table = Table(title=escape(f"Accuracy, % ± 95% over episodes; batch norm {mode}" + (f"; {fixed}" if fixed else "")))
    for heading in [*places, "method", *(name.removeprefix("setting ") for name in told_by)]:
        table.add_column(escape(heading), overflow="fold")
    for rule in rules:
        table.add_column(rule_label(rule), justify="right")
    for key, rows in frame.groupby([*places, "method", *told_by, "experiment"], sort=False):
        by_rule = {row.rule: f"{row.accuracy:.2f} ± {row.ci95:.2f}" for row in rows.itertuples()}
        names = [*map(str, key[: len(places)]), method_label(key[len(places)]), *map(str, key[len(places) + 1 : -1])]
        table.add_row(*map(escape, names), *(by_rule.get(rule, "–") for rule in rules))
    if len(settings) > _MOST_SETTINGS:
        table.caption = f"{len(settings)} settings differ; --csv writes a column for each"
    return table
