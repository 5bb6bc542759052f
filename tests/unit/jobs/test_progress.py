"""Progress in logs and on terminals."""

import io
import logging
import re
import sys

import pytest
import torch
from rich.console import Console

from dfml.jobs import progress as module
from dfml.jobs.progress import LogProgress, NullProgress, RichProgress, duration, make_progress, read_reached


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger=module.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120)


def screen(console):
    """Everything drawn so far: one entry per line and redrawing, without control codes."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_a_log_gets_a_line_every_ten_seconds_and_the_last(lines):
    clock = Clock()
    with LogProgress(clock=clock).task("meta-learning", total=12) as task:
        for step in range(12):
            clock.now += 4.0
            task.advance(1, ce=1.0 / (step + 1), replay_accuracy=torch.tensor(40.0 + step))
    assert lines() == [
        "meta-learning 3/12, ce 0.3333, replay accuracy 42, 36 s left",
        "meta-learning 6/12, ce 0.1667, replay accuracy 45, 24 s left",
        "meta-learning 9/12, ce 0.1111, replay accuracy 48, 12 s left",
        "meta-learning 12/12, ce 0.08333, replay accuracy 51, done after 48 s",
    ]


def test_time_left_counts_only_what_this_run_did(lines):
    clock = Clock()
    with LogProgress(clock=clock).task("zoo", total=100, done=90) as task:
        clock.now = 10.0
        task.advance(5)
    assert lines()[0] == "zoo 95/100, 10 s left"


def test_a_loop_that_breaks_leaves_where_it_stood(lines):
    with pytest.raises(ZeroDivisionError), LogProgress().task("zoo", total=3) as task:
        task.advance(accuracy=50)
        _ = 1 / 0
    assert lines() == ["zoo 1/3, accuracy 50, stopped after 0 s"]


def test_quantities_are_read_only_when_shown():
    class Dear:
        reads = 0

        def __float__(self):
            self.reads += 1
            return 1.0

    dear, clock = Dear(), Clock()
    with LogProgress(clock=clock).task("zoo", total=100) as task:
        for _ in range(100):
            clock.now += 1.0
            task.advance(ce=dear)
    assert dear.reads == 10


def test_a_terminal_shows_description_count_quantities_and_time():
    console = terminal()
    with RichProgress(console).task("meta-learning [5-way]", total=4) as task:
        for _ in range(3):
            task.advance(ce=0.25, replay_accuracy=torch.tensor(41.5))
        task.advance(1)
    last = screen(console)[-1]
    for part in ("meta-learning [5-way]", "4/4", "ce 0.25", "replay accuracy 41.5", "0:00:00"):
        assert part in last


def test_bars_nest_and_follow_one_another():
    console = terminal()
    progress = RichProgress(console)
    with progress.task("outer", total=1) as outer:
        with progress.task("inner", total=1) as inner:
            inner.advance()
        outer.advance()
    with progress.task("second", total=1) as second:
        second.advance()
    drawn = screen(console)
    assert any("inner" in line for line in drawn)
    assert [line.split()[0] for line in drawn[-2:]] == ["second", "second"]


def test_nothing_can_be_reported_too():
    with NullProgress().task("zoo", total=2) as task:
        task.advance(2, ce=1.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_for_terminals_and_lines_for_the_rest(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(make_progress(), RichProgress)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(make_progress(), LogProgress)


@pytest.mark.parametrize("quantities", [{}, {"ce": 0.25}, {"teacher_ce": 1e-7, "replay_accuracy": 41.5}])
@pytest.mark.parametrize("description", ["zoo", "heads of 3/4 models", "icons_colour/conv4 seed 0"])
def test_a_line_is_read_as_it_was_written(lines, description, quantities):
    clock = Clock()
    with LogProgress(clock=clock).task(description, total=9, done=2) as task:
        clock.now = 100.0
        task.advance(1, **quantities)
    running, stopped = (read_reached(line) for line in lines())
    assert (running.description, running.done, running.total) == (description, 3, 9)
    assert running.quantities == ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" for name, value in quantities.items()
    )
    assert (running.end, stopped.end) == ("10 min 00 s left", "stopped after 1 min 40 s")


@pytest.mark.parametrize("line", ["finished in 15 s, peak 643 MiB", "", "zoo 3/9", "zoo 3/9, ce 1", "model 3/4, taken"])
def test_other_lines_say_nothing_of_a_loop(line):
    assert read_reached(line) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
