"""What a run shows, from events as Snakemake logs them."""

import io
import logging
import os
import re
import time

import pytest
from rich.console import Console

from dfml.jobs import display as module
from dfml.jobs.display import RunDisplay, show_run
from dfml.jobs.logs import FORMAT, HEAD_TELLS, failure, job_name

MAP = {1: "meta_learn/single/free/1shot/seed0", 2: "train_zoo/icons_colour/conv4/seed1"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HEAD_TELLS, "")  # put back as it was afterwards
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "110")
    return tmp_path


@pytest.fixture
def logger():
    own = logging.Logger("snakemake", logging.INFO)
    own.addHandler(logging.StreamHandler(io.StringIO()))
    return own


@pytest.fixture
def shown(logger):
    """A display without a terminal, its clock, and a function for what the screen says."""
    clock = [1000.0]
    screen = logger.handlers[0]
    display = RunDisplay(logger, screen, 5, every=1e9, clock=lambda: clock[0])
    yield display, clock, lambda: screen.stream.getvalue().splitlines()
    display.stop()


def log_of(number, *records):
    path = f"logs/demo/{MAP[number]}.log"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    for level, text in records:
        handler.emit(logging.LogRecord("dfml", level, "", 0, text, None, None))
    handler.close()
    return path


def event(logger, name, **fields):
    logger.info("as Snakemake says it", extra={"event": name, **fields})


def start(logger, number):
    rule = MAP[number].split("/")[0]
    event(logger, "job_info", jobid=number, rule_name=rule, log=[f"logs/demo/{MAP[number]}.log"])


def fail(logger, number):
    logger.error("Error", extra={"event": "job_error", "jobid": number, "rule_name": MAP[number].split("/")[0]})


def test_one_line_says_what_runs_and_how_far_it_is(logger, shown):
    display, clock, _ = shown
    for number in MAP:
        start(logger, number)
    log_of(1, (logging.INFO, "free 12/450, replay loss 1.5, 3 min 05 s left"), (logging.INFO, "a remark"))
    event(logger, "progress", done=2, total=9)
    clock[0] += 90
    assert display.line() == (
        "2 of 5 jobs done after 1 min 30 s; running: "
        "meta_learn single/free/1shot/seed0 (free 12/450, 3 min 05 s left), "
        "train_zoo icons_colour/conv4/seed1 (1 min 30 s)"
    )
    event(logger, "job_finished", job_id=1)
    assert "meta_learn" not in display.line()


def test_lines_come_by_themselves(logger):
    display = RunDisplay(logger, logger.handlers[0], 5, every=0.01)
    stream = logger.handlers[0].stream
    deadline = time.monotonic() + 60
    while stream.getvalue().count("running: nothing") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    display.stop()


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([(logging.ERROR, "zoo.models is 0;\n  give at least 1")], "zoo.models is 0; give at least 1"),
        (
            [(logging.ERROR, "ValueError: odd\nTraceback (most recent call last):\n  File\nValueError: odd")],
            "ValueError: odd",
        ),
        ([(logging.ERROR, "interrupted"), (logging.INFO, "late")], "interrupted"),
        ([(logging.INFO, "free 1/2, 3 s left")], module._SILENT),
    ],
)
def test_a_failure_is_said_with_its_log(logger, shown, records, why):
    start(logger, 1)
    path = log_of(1, *records)
    fail(logger, 1)
    assert shown[2]() == ["as Snakemake says it", f"meta_learn: {why}", f"    log: {path}"]
    shown[0].stop()
    assert shown[2]()[-1] == "0 of 5 jobs done after 0 s, 1 failed"


def test_a_log_of_an_earlier_run_says_nothing_of_this_one():
    path = module.Path(log_of(1, (logging.ERROR, "the disk is full")))
    os.utime(path, (500, 500))
    assert failure(path, since=499) == "the disk is full"
    assert failure(path, since=501) is None
    assert failure(module.Path("logs/demo/none.log")) is None


def test_what_it_says_itself_is_not_said_twice_and_the_rest_stays(logger, shown):
    for name in ("job_started", "job_finished", "progress", "resources_info"):
        event(logger, name, job_id=7, done=1, total=5)
    logger.info("Select jobs to execute...")
    logger.warning("Terminating processes on user request")
    assert shown[2]() == ["Terminating processes on user request"]


def test_the_last_job_ends_it(logger, shown):
    event(logger, "progress", done=5, total=5)
    event(logger, "progress", done=1, total=5)
    assert shown[2]() == ["5 of 5 jobs done after 0 s", "as Snakemake says it"]


def test_every_job_has_a_bar_of_its_own_and_what_is_said_stands_above(logger, monkeypatch):
    screen = logger.handlers[0]
    screen.setStream(Terminal())
    display = RunDisplay(logger, screen, 5, every=1e9)
    for number in MAP:
        start(logger, number)
        log_of(number, (logging.INFO, f"loop {number}/4, ce 0.{number}, {number} s left"))
    event(logger, "progress", done=2, total=9)
    console = Console(file=io.StringIO(), width=110)
    console.print(display._picture())
    rows = console.file.getvalue().splitlines()
    assert [row.split()[0] for row in rows] == ["jobs", "meta_learn", "train_zoo"]
    assert all("\u2501" in row for row in rows) and "2/5" in rows[0]
    assert "1/4 1 s left, ce 0.1" in rows[1] and "2/4 2 s left, ce 0.2" in rows[2]

    start(logger, 1)
    log_of(1, (logging.ERROR, "zoo.models is 0"))
    fail(logger, 1)
    display.stop()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.stream.getvalue()).replace("\r", "\n").splitlines()
    assert "meta_learn: zoo.models is 0" in text
    assert text[-1] == "2 of 5 jobs done after 0 s, 1 failed"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_many_quantities_take_no_room_from_name_and_count(logger, shown, width):
    start(logger, 1)
    quantities = ", ".join(f"quantity {number} 0.{number}" for number in range(20))
    log_of(1, (logging.INFO, f"free 12/450, {quantities}, 3 min 05 s left"))
    console = Console(file=io.StringIO(), width=width)
    console.print(shown[0]._picture())
    row = console.file.getvalue().splitlines()[1]
    assert row.startswith("meta_learn single/free/1shot/seed0 \u2578") and len(row) <= width
    assert " 12/450 3 min" in row and row.rstrip().endswith("\u2026")


@pytest.mark.parametrize("quiet", [(), ("host",), ("progress", "host"), ("all",), ("rules", "all")])
def test_whoever_asks_snakemake_for_more_or_for_nothing_gets_that(logger, quiet):
    before = list(logger.handlers)
    show_run(logger, quiet, 5)
    assert logger.handlers == before


def test_a_plugin_that_writes_to_the_screen_has_it_alone(logger):
    logger.handlers.clear()
    show_run(logger, ("rules",), 5)
    assert logger.handlers == []


@pytest.mark.parametrize("path", ["make_results", *MAP.values()])
def test_jobs_are_called_by_rule_and_wildcards(path):
    assert job_name(module.Path(f"logs/demo/{path}.log")) == path.replace("/", " ", 1)
