"""Resumable loops: interrupted anywhere they end where an undisturbed one ends."""

import logging

import pytest
import torch

from dfml.compute.timeline import WallClock
from dfml.errors import DfmlError
from dfml.jobs import loop as module
from dfml.jobs.checkpoint import Checkpoint
from dfml.jobs.loop import Aside, Loop
from dfml.jobs.settings import RuntimeSettings
from support.cells import InterruptedJobError, InterruptedProgress
from support.zoo import QuietJob

TOTAL = 7


class Walk:
    """A random walk that keeps some of its places."""

    MOVES = ("place", "generator")
    GROWS = ("kept",)

    def __init__(self):
        self.place, self.generator, self.kept = torch.zeros(3), torch.Generator().manual_seed(0), []
        self.taken, self.checks = [], 0

    def step(self, number):
        self.taken.append(number)
        self.place += torch.randn(3, generator=self.generator)
        return {"length": self.place.norm()}

    def check(self):
        self.checks += 1

    def keep(self, done, seconds):
        self.kept.append({"done": done, "place": self.place.clone()})


def loop(walk, path=None, *, every=2, progress=None, **changes):
    job = QuietJob(runtime=RuntimeSettings(checkpoint_every=every))
    job.progress = progress or job.progress
    facts = {
        "name": "walk",
        "total": TOTAL,
        "steps": lambda done: map(walk.step, range(done, TOTAL)),
        "moves": walk,
        "clock": WallClock(),
        "checkpoint": Checkpoint(path, "digest"),
        "job": job,
    }
    if isinstance(walk, Walk):
        facts |= {"check": walk.check, "keep": {3, TOTAL}, "kept": walk.keep}
    return Loop(**(facts | changes))


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(a, b):
    assert torch.equal(a.place, b.place) and torch.equal(a.generator.get_state(), b.generator.get_state())
    assert [one["done"] for one in a.kept] == [one["done"] for one in b.kept]
    assert all(torch.equal(x["place"], y["place"]) for x, y in zip(a.kept, b.kept, strict=True))


@pytest.mark.parametrize("every", [1, 2, 3, 10])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("stop", range(TOTAL))
def test_interrupted_at_any_step_it_ends_alike(tmp_path, stop, every, sparse):
    whole, broken, resumed = Walk(), Walk(), Walk()
    expected = loop(whole, every=every, sparse=sparse).run()
    with pytest.raises(InterruptedJobError):
        loop(broken, tmp_path / "resume.pt", every=every, sparse=sparse, progress=InterruptedProgress(stop)).run()
    second = loop(resumed, tmp_path / "resume.pt", every=every, sparse=sparse)
    assert without_seconds(second.run()) == without_seconds(expected)
    assert second.done == TOTAL
    assert resumed.taken == list(range(stop // every * every, TOTAL))
    same(whole, resumed)


@pytest.mark.parametrize(("sparse", "again"), [(False, [4, 5, 6]), (True, [0, 1, 2, 3, 4, 5, 6])])
def test_slow_steps_have_a_resume_point_every_minute(tmp_path, monkeypatch, sparse, again):
    """Not where the rows of the history are those of resume points: the clock would choose them."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def slowly(walk):
        def steps(done):
            for number in range(done, TOTAL):
                now[0] += 40
                yield walk.step(number)

        return steps

    first, second, whole = Walk(), Walk(), Walk()
    options = {"every": 10, "sparse": sparse}
    with pytest.raises(InterruptedJobError):
        loop(first, tmp_path / "a.pt", progress=InterruptedProgress(5), steps=slowly(first), **options).run()
    rows = loop(second, tmp_path / "a.pt", steps=slowly(second), **options).run()
    assert second.taken == again
    expected = loop(whole, steps=slowly(whole), **options).run()
    same(second, whole)
    assert without_seconds(rows) == without_seconds(expected)


def test_rows_number_the_steps_and_sparse_ones_only_those_at_resume_points():
    assert [row["iteration"] for row in loop(Walk()).run()] == list(range(1, TOTAL + 1))
    rows = loop(Walk(), every=3, sparse=True).run()
    assert [row["iteration"] for row in rows] == [3, 6, 7]
    assert list(rows[0]) == ["iteration", "seconds", "length"]


def test_quantities_are_read_only_where_something_is_kept():
    read = []

    class Watched:
        def __init__(self, number):
            self.number = number

        def __float__(self):
            read.append((self.number, at[0]))
            return 0.0

    at = [0]

    def steps(done):
        for number in range(done, TOTAL):
            at[0] = number + 1
            yield {"value": Watched(number + 1)}

    loop(Walk(), every=4, steps=steps).run()
    assert read == [(1, 3), (2, 3), (3, 3), (4, 4), (5, 7), (6, 7), (7, 7)]  # 3 and 7 are kept


def test_nothing_is_kept_of_what_fails_the_check(tmp_path):
    walk = Walk()

    def check():
        if len(walk.taken) > 3:
            raise DfmlError("not finite")

    path = tmp_path / "resume.pt"
    with pytest.raises(DfmlError, match="not finite"):
        loop(walk, path, check=check).run()
    assert Checkpoint(path, "digest").load()["done"] == 2
    assert [one["done"] for one in walk.kept] == [3]


def test_the_check_comes_wherever_something_is_kept():
    walk = Walk()
    loop(walk, every=4).run()
    assert walk.checks == 3


@pytest.mark.parametrize("keep_end", [False, True])
def test_the_end_is_a_resume_point_where_that_is_asked_for(tmp_path, keep_end):
    path = tmp_path / "resume.pt"
    loop(Walk(), path, keep_end=keep_end).run()
    again = Walk()
    loop(again, path, keep_end=keep_end).run()
    assert again.taken == ([] if keep_end else [6])


def test_seconds_add_up_over_interruptions(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    with pytest.raises(InterruptedJobError):
        loop(Walk(), tmp_path / "resume.pt", progress=InterruptedProgress(4)).run()
    saved = Checkpoint(tmp_path / "resume.pt", "digest").load()
    assert saved["clock"]["total"] >= saved["history"][-1]["seconds"] > 0
    rows = loop(Walk(), tmp_path / "resume.pt").run()
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds) and len(set(seconds)) == TOTAL
    assert seconds[4] > saved["clock"]["total"]


def test_progress_counts_what_is_left_and_names_the_quantities(tmp_path):
    told = []

    class Told(InterruptedProgress):
        def task(self, description, *, total, done=0):
            told.append((description, total, done))
            return super().task(description, total=total, done=done)

        def advance(self, steps=1, /, **quantities):
            told.append(sorted(quantities))
            super().advance(steps)

    with pytest.raises(InterruptedJobError):
        loop(Walk(), tmp_path / "resume.pt", progress=Told(2)).run()
    loop(Walk(), tmp_path / "resume.pt", progress=Told(99)).run()
    assert told == [("walk", TOTAL, 0), *[["length"]] * 3, ("walk", TOTAL, 2), *[["length"]] * 5]


@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_an_unusable_resume_file_is_a_warning(tmp_path, caplog, damage):
    path, whole, fresh = tmp_path / "resume.pt", Walk(), Walk()
    loop(whole, path).run()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    else:
        Checkpoint(path, "other").save({"done": 3})
    loop(fresh, path).run()
    assert "starting afresh" in caplog.text and fresh.taken == list(range(TOTAL))
    same(whole, fresh)


class Sides:
    """What steps leave in files of their own, and what is made of it in the end."""

    GROWS = ("sum",)

    def __init__(self, folder):
        files = [Checkpoint(folder / f"side{number}.pt", "digest") for number in range(TOTAL)]
        self.aside, self.sum, self.finished = Aside("a side", files), torch.zeros(0), 0
        self.taken = []

    def steps(self, done):
        for number in range(done, TOTAL):
            self.taken.append(number)
            self.aside.held.append({"x": torch.full((2,), float(number))})
            yield {"number": number}

    def finish(self):
        self.finished += 1
        self.sum = torch.stack([one["x"] for one in self.aside.held]).sum(0)
        return {"sum": self.sum.sum()}

    def loop(self, folder, progress=None):
        own = {"steps": self.steps, "aside": self.aside, "finish": self.finish}
        return loop(self, folder / "resume.pt", every=1, progress=progress, **own)


@pytest.mark.parametrize("stop", range(TOTAL))
def test_files_aside_are_written_once_and_vanish_at_the_end(tmp_path, stop):
    first, second, third = Sides(tmp_path), Sides(tmp_path), Sides(tmp_path)
    with pytest.raises(InterruptedJobError):
        first.loop(tmp_path, InterruptedProgress(stop)).run()
    assert len(list(tmp_path.glob("side*"))) == stop
    written = []
    for number, file in enumerate(second.aside.files):
        file.save = lambda state, number=number, save=file.save: written.append(number) or save(state)
    rows = second.loop(tmp_path).run()
    assert second.taken == written == list(range(stop, TOTAL))
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]
    assert second.sum.tolist() == [21.0, 21.0] and rows[-1]["sum"] == 42.0 and len(rows) == TOTAL + 1
    assert third.loop(tmp_path).run() == rows
    assert third.taken == [] and third.finished == 0 and torch.equal(third.sum, second.sum)


def test_a_lost_file_aside_starts_afresh(tmp_path, caplog):
    first, second = Sides(tmp_path), Sides(tmp_path)
    with pytest.raises(InterruptedJobError):
        first.loop(tmp_path, InterruptedProgress(3)).run()
    (tmp_path / "side1.pt").unlink()
    second.loop(tmp_path).run()
    assert second.taken == list(range(TOTAL))
    assert f"a side is missing beside {tmp_path / 'resume.pt'}, starting afresh" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING
