"""Readers are shown damaged files: they return something or raise DfmlError, in bounded memory, time and space."""

import contextlib
import math
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dfml.errors import DfmlError
from support.mutations import Mutation

MEMORY = 1 << 30
"""Address space that a reader may take beyond what the process has; the files have some kilobytes."""

SECONDS = 5.0
"""Processor time that one file may take."""

MANY = 100_000
"""Files of a long test."""

LONGEST_MESSAGE = 20_100
UNPRINTABLE = ("\x1b", "\x00", "\x07", "\u202e")


@dataclass(frozen=True)
class Artefact:
    """A kind of artefact on the shelf.

    Attributes:
        name: What failures call it.
        write: Writes a valid one, the first or the second of its kind, into a folder.
        read: Reads everything that the package reads of it.
        mutations: By file name, how that file is damaged.
        mend: Makes digests fit the damaged files, so that they do not hide the reader behind them.
        mended: Names of the files that it changes.
        share: How many of a thousand inputs it gets.
    """

    name: str
    write: Callable[[Path, int], object]
    read: Callable[[Path], object]
    mutations: dict[str, tuple[Mutation, ...]]
    mend: Callable[[Path], object] = lambda folder: None
    mended: tuple[str, ...] = ()
    share: int = 10


@dataclass
class Outcome:
    """What became of the inputs; one failure is kept for each place in the code that it came from."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def fail(self, place: str, message: str) -> None:
        """Keep a failure."""
        self.failures.setdefault(place, message)


class TooSlowError(BaseException):
    """A reader took too long; no handler of Exception hides it."""


class Fuzzer:
    """Makes the valid files of an artefact once, then damages and reads them as often as asked.

    What fails is copied to ``kept``, by default beside the others.
    """

    def __init__(self, artefact: Artefact, folder: Path, kept: Path | None = None) -> None:
        self.artefact, self.folder = artefact, folder / artefact.name
        self.kept = kept or folder
        self.valid: list[dict[str, bytes]] = []
        for which in (0, 1):
            made = folder / f"{artefact.name}.{which}"
            made.mkdir(parents=True)
            artefact.write(made, which)
            self.valid.append({p.relative_to(made).as_posix(): p.read_bytes() for p in made.rglob("*") if p.is_file()})
        self.held: dict[str, bytes] = {}
        self.place(self.valid[0])
        artefact.read(self.folder)  # what is valid is read; and imports are done

    def place(self, files: dict[str, bytes]) -> None:
        """Make the folder hold exactly these files, with digests that fit."""
        for name, content in files.items():
            if self.held.get(name) != content:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_bytes(content)
        self.artefact.mend(self.folder)
        self.held = dict(files)
        for name in self.artefact.mended:
            self.held.pop(name, None)

    def damaged(self, number: int) -> dict[str, bytes]:
        """The files of input ``number``: the same every time."""
        draws = Random(f"{self.artefact.name} {number}")
        first, second = self.valid if draws.random() < 0.8 else self.valid[::-1]
        name = draws.choice(sorted(self.artefact.mutations))
        mutation = draws.choice(self.artefact.mutations[name])
        return first | {name: mutation(first[name], second[name], draws)}

    def run(self, numbers: range) -> Outcome:
        """Read the inputs with these numbers."""
        outcome = Outcome()
        before = peak_memory()
        with limited_memory(), watched(self.folder) as touched:
            for number in numbers:
                self.place(self.damaged(number))
                names = sorted(os.listdir(self.folder))
                touched.clear()
                place, message = self._read(outcome)
                if touched:
                    place, message = "outside", f"touched {touched[:3]}"
                if sorted(os.listdir(self.folder)) != names:
                    place, message = "written", "the folder has other files than before"
                if place:
                    kept = self.kept / f"{self.artefact.name}-{number}"
                    if place not in outcome.failures:
                        shutil.copytree(self.folder, kept, dirs_exist_ok=True)
                    outcome.fail(place, f"{self.artefact.name}, input {number}, kept in {kept}: {message}")
                outcome.tried += 1
        grown = peak_memory() - before
        if grown > MEMORY:
            outcome.fail("memory", f"{self.artefact.name}: {grown >> 20} MiB were held in {numbers}")
        return outcome

    def _read(self, outcome: Outcome) -> tuple[str, str]:
        """Read the folder once; where and how that failed, if it did."""
        start = time.process_time()
        try:
            with alarm(SECONDS):
                self.artefact.read(self.folder)
            outcome.read += 1
        except DfmlError as error:
            outcome.refused += 1
            text = str(error)
            if any(character in text for character in UNPRINTABLE):
                return "message", f"unprintable characters in {text[:200]!r}"
            if len(text) > LONGEST_MESSAGE:
                return f"length {error.__traceback__.tb_next.tb_lineno}", f"{len(text)} characters: {text[:200]!r}"
        except (Exception, TooSlowError) as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if f"{os.sep}dfml{os.sep}" in f.filename] or frames
            place = f"{type(error).__name__} in {Path(own[-1].filename).name} {own[-1].name}"
            shown = "".join(traceback.format_tb(error.__traceback__)[-3:])
            return place, f"{type(error).__name__}: {str(error)[:300]!a}\n{shown}"
        if (spent := time.process_time() - start) > SECONDS:
            return "time", f"{spent:.1f} s"
        return "", ""


def share_of(artefact: Artefact, total: int, among: Sequence[Artefact]) -> int:
    """How many of ``total`` inputs an artefact gets."""
    return math.ceil(total * artefact.share / sum(one.share for one in among))


def read_damaged(
    artefacts: Sequence[Artefact], first: int, total: int, folder: Path, kept: Path
) -> tuple[int, dict[str, str]]:
    """Read at least ``total`` inputs from number ``first`` on; how many they were, and what failed."""
    tried, failures, start = 0, {}, time.process_time()
    for artefact in artefacts:
        outcome = Fuzzer(artefact, folder, kept).run(range(first, first + share_of(artefact, total, artefacts)))
        told = f"{outcome.tried} tried, {outcome.refused} refused, {len(outcome.failures)} failures"
        print(f"{artefact.name}: {told}", flush=True)  # noqa: T201
        tried += outcome.tried
        failures |= {f"{artefact.name}: {place}": text for place, text in outcome.failures.items()}
    print(f"{tried} damaged files in {time.process_time() - start:.0f} s of processor time")  # noqa: T201
    return tried, failures


def peak_memory() -> int:
    """The most memory this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def limited_memory(more: int = MEMORY) -> Iterator[None]:
    """Refuse the process more address space than it has and ``more``."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TooSlowError after so much processor time of this process; a busy machine does not count."""

    def ring(number: int, frame: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


_WATCHES: list[tuple[str, list[str]]] = []
_EVENTS = ("open", "os.", "shutil.", "subprocess.", "socket.", "pty.")
_HARMLESS = ("os.listdir", "os.scandir", "os.putenv", "os.unsetenv")


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect what Python code opens outside ``folder``, and every process, connection or change of files."""
    if not hasattr(sys, "_dfml_watch"):
        sys._dfml_watch = True  # a hook cannot be taken away again
        sys.addaudithook(_hook)
    found: list[str] = []
    _WATCHES.append((str(folder), found))
    # A library may import more of itself, whose compiled form Python would keep beside it.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield found
    finally:
        sys.dont_write_bytecode = before
        _WATCHES.pop()


def _hook(event: str, arguments: tuple) -> None:
    if not _WATCHES or not event.startswith(_EVENTS) or event in _HARMLESS:
        return
    folder, found = _WATCHES[-1]
    if event == "open":
        path = str(arguments[0])
        own = path == folder or path.startswith(folder + os.sep) or isinstance(arguments[0], int)
        # Python reads its own modules when something is imported or a traceback is shown.
        if own or path.endswith((".py", ".pyc")) or path.startswith((sys.prefix, sys.base_prefix)):
            return
    found.append(f"{event} {arguments!r}"[:200])
