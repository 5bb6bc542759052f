"""`dfml watch`: the jobs at work, how far each is, and the last values of its history."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dfml.artefacts.learner import HISTORY
from dfml.config.load import load_config
from dfml.errors import DfmlError
from dfml.jobs.claim import RunningJob, running_jobs
from dfml.jobs.logs import job_name, last_reached
from dfml.jobs.progress import duration
from dfml.methods.history import Row, read_history

if TYPE_CHECKING:
    from rich.console import Group

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40  # columns of a curve
_SLACK = 2.0  # seconds that a file system may be behind with the time of a log


def run(experiment: str | None, console: Console, *, every: float) -> int:
    """Watch until nothing runs: curves on a terminal, lines every so many seconds elsewhere; returns the exit code.

    Raises:
        DfmlError: there is no such experiment.
    """
    experiment = experiment or load_config(["config/config.yaml"]).experiment
    if not os.path.isdir(Path("results", experiment)):
        raise DfmlError(f"there is no results/{experiment}: give the name of a folder below results/")
    if console.is_terminal:
        _draw(experiment, console)
    else:
        while jobs := running_jobs(experiment):
            for job in jobs:
                console.print(line(job), markup=False, soft_wrap=True)
            time.sleep(every)
    console.print(f"nothing runs in results/{experiment}", markup=False)
    return 0


def line(job: RunningJob) -> str:
    """What a job is at: its name, how far it has come, and the last row of its history."""
    row = (_history(job) or [{}])[-1]
    named = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name != "seconds"]
    return "; ".join(filter(None, [f"{job_name(job.log)}: {_standing(job)}", ", ".join(named)]))


def curve(values: list[float]) -> str:
    """Values as blocks between the lowest and the highest, thinned out to the width of a curve."""
    count = min(len(values), _WIDTH)
    picked = [values[(len(values) - 1) * i // max(1, count - 1)] for i in range(count)]
    lowest, highest = min(picked), max(picked)
    reach = (highest - lowest) or 1.0
    return "".join(_BLOCKS[int((value - lowest) / reach * (len(_BLOCKS) - 1))] for value in picked)


def _draw(experiment: str, console: Console) -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        while jobs := running_jobs(experiment):
            live.update(_picture(jobs), refresh=True)
            time.sleep(1.0)


def _picture(jobs: list[RunningJob]) -> Group:
    """A table for each job: a row for each quantity of its history."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = []
    for job in jobs:
        parts.append(Text(f"{job_name(job.log)}: {_standing(job)}"))
        history, table = _history(job), Table.grid(padding=(0, 2))
        for name in dict.fromkeys(name for row in history for name in row if name not in ("iteration", "seconds")):
            values = [row[name] for row in history if name in row]
            table.add_row(f"  {name.replace('_', ' ')}", Text(curve(values), no_wrap=True), f"{values[-1]:.4g}")
        parts.append(table)
    return Group(*parts)


def _standing(job: RunningJob) -> str:
    reached = last_reached(job.log, job.since - _SLACK)
    if reached is None:
        return f"for {duration(time.time() - job.since)}"
    return f"{reached.description} {reached.done}/{reached.total}, {reached.end}"


def _history(job: RunningJob) -> list[Row]:
    """The history so far of a job that fits a learner; empty for any other and before the first row."""
    _, experiment, rule, *wildcards = job.log.with_suffix("").parts
    if rule != "meta_learn":
        return []
    try:
        return read_history(Path("results", experiment, "metalearning", *wildcards, HISTORY))
    except FileNotFoundError:
        return []
