"""What a run shows: bars on a terminal, a line every minute elsewhere, and why and where a job failed."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfml.jobs.logs import HEAD_TELLS, failure, job_name, last_reached
from dfml.jobs.progress import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

# What Snakemake says of its single jobs; the display says it in short.
_REPLACED = ("job_started", "job_finished", "job_error", "progress", "resources_info")
_UNNAMED = "Select jobs to execute..."  # the only one of them that is no event
_SLACK = 2.0  # seconds that a file system may be behind with the time of a log
_BAR = 20  # columns
# A job that was begun again has left its log to its successor.
_SILENT = "it ended without a word in its log: memory ran out, or it was begun again by another process"


@dataclass(frozen=True)
class _Running:
    """A job at work: its name, its log, and when it began in seconds of the epoch."""

    name: str
    log: Path
    since: float


def show_run(logger: logging.Logger, quiet: Collection[str], total: int) -> None:
    """Show the run whose jobs Snakemake tells ``logger`` of, until its last job or the end of this process.

    Args:
        logger: Snakemake's, with its handlers.
        quiet: What Snakemake does not print, in its own words. Nothing is shown unless ``rules`` is among them and
            ``all`` is not, nor where a plugin writes to the screen: then someone asked for something else.
        total: How many jobs there are.
    """
    streams = [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
    if len(streams) != 1 or "rules" not in quiet or "all" in quiet:
        return
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.filters.clear()  # Snakemake's own log has everything all the same
    atexit.register(RunDisplay(logger, streams[0], total).stop)


class RunDisplay(logging.Handler):
    """Follows the events of a run, says them in short and keeps Snakemake's own words for them off the screen.

    Args:
        logger: Snakemake's.
        screen: Its handler that writes to the screen.
        total: How many jobs there are.
        every: Seconds between the lines where there is no terminal.
        clock: Seconds of the epoch.
    """

    def __init__(
        self,
        logger: logging.Logger,
        screen: logging.StreamHandler[Any],
        total: int,
        every: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._logger, self._screen, self._every, self._clock = logger, screen, every, clock
        self._stream = screen.stream
        self._total, self._done, self._failed = total, 0, 0
        self._running: dict[int, _Running] = {}
        self._start = clock()
        self._ended = threading.Event()
        os.environ[HEAD_TELLS] = "1"  # for the jobs
        screen.addFilter(_is_not_replaced)
        logger.addHandler(self)
        self._console, self._live = _draw(self._stream, self._picture)
        if self._live is None:
            threading.Thread(target=self._tell_every, daemon=True).start()
        else:
            screen.setStream(sys.stderr)  # drawing redirects it, so that what is written stands above the bars

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one event."""
        try:
            self._take(record)
        except Exception:  # as handlers do: what goes wrong here must not end the run
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        event, fields = getattr(record, "event", None), record.__dict__
        if event == "job_info" and fields["log"]:
            log = Path(fields["log"][0])
            self._running[fields["jobid"]] = _Running(job_name(log), log, self._clock() - _SLACK)
        elif event == "job_finished":
            self._running.pop(fields["job_id"], None)
        elif event == "progress":
            self._done = fields["done"]  # its total counts jobs that `--until` leaves out
            if self._done == self._total:
                self.stop()
        elif event == "job_error":
            self._tell_failure(fields["rule_name"], self._running.pop(fields["jobid"], None))

    def stop(self) -> None:
        """End the display; the last line says how many jobs were done."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._logger.removeHandler(self)
        self._screen.removeFilter(_is_not_replaced)
        if self._live is not None:
            self._live.stop()
            self._screen.setStream(self._stream)
            self._live = None
        failed = f", {self._failed} failed" if self._failed else ""
        self._say(f"{self._counted()}{failed}")

    def line(self) -> str:
        """What runs, in one line."""
        told = []
        for job in self._jobs():
            reached = last_reached(job.log, job.since)
            if reached is None:
                told.append(f"{job.name} ({duration(self._clock() - job.since - _SLACK)})")
            else:
                told.append(f"{job.name} ({reached.description} {reached.done}/{reached.total}, {reached.end})")
        return f"{self._counted()}; running: {', '.join(told) or 'nothing'}"

    def _counted(self) -> str:
        return f"{self._done} of {self._total} jobs done after {duration(self._clock() - self._start)}"

    def _jobs(self) -> list[_Running]:
        return list(self._running.values())  # a copy, as another thread adds and removes

    def _tell_every(self) -> None:
        while not self._ended.wait(self._every):
            self._say(self.line())

    def _tell_failure(self, rule: str, job: _Running | None) -> None:
        self._failed += 1
        if job is None:
            self._say(f"{rule}: failed")
            return
        why = failure(job.log, job.since) or _SILENT
        self._say(f"{rule}: {why}\n    log: {job.log}")

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def _picture(self) -> Table:
        """A row for the run and one for each running job."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(width=_BAR)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # what is long gets what is left
        seconds = duration(self._clock() - self._start)
        table.add_row("jobs", ProgressBar(self._total, self._done, _BAR), f"{self._done}/{self._total}", seconds)
        for job in self._jobs():
            reached = last_reached(job.log, job.since)
            if reached is None:
                table.add_row(job.name, "", "", duration(self._clock() - job.since - _SLACK))
            else:
                bar = ProgressBar(reached.total, reached.done, _BAR)
                rest = ", ".join(filter(None, [reached.end, reached.quantities]))
                table.add_row(job.name, bar, f"{reached.done}/{reached.total}", rest)
        return table


def _is_not_replaced(record: logging.LogRecord) -> bool:
    return getattr(record, "event", None) not in _REPLACED and record.msg != _UNNAMED


def _draw(stream: Any, picture: Callable[[], Table]) -> tuple[Console, Live | None]:
    """A console on the stream and, if that is a terminal, what draws the picture there."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    if not stream.isatty() or console.is_dumb_terminal:
        return console, None
    live = Live(get_renderable=picture, console=console, refresh_per_second=2, transient=True)
    live.start()
    return console, live
