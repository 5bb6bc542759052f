"""`dfml clean`: what may be removed, how large it is, and its removal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dfml.cli.tools import require_quiet, require_repository
from dfml.errors import DfmlError
from dfml.files.atomic import PARTIAL
from dfml.files.reading import MEBIBYTE
from dfml.jobs.claim import running_jobs

KINDS = {
    "resume": "resume files: interrupted jobs begin anew",
    "partial": "what killed writers left half-written",
    "caches": "caches and old logs of Snakemake: they are made again when needed",
}
"""What may be removed besides whole experiments: the name of its option, and what it is."""

_CACHES = (".snakemake/images", ".snakemake/log")
_SHARED = ".cache/zoos"  # zoos of sweeps: results hold links to them, so they are no cache that could be emptied


@dataclass(frozen=True)
class Found:
    """Something that may be removed: a key of KINDS, or ``experiment``; its files and folders."""

    kind: str
    experiment: str
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(_size(path) for path in self.paths)


def run(console: Console, *, kinds: Sequence[str], experiments: Sequence[str]) -> int:
    """Remove the kinds and the experiments that are named, or list what there is; returns the exit code.

    Raises:
        DfmlError: outside the repository, an unknown experiment, one with a running job, or a run is going on.
    """
    require_repository()
    everything = list(find())
    if not kinds and not experiments:
        for found in everything:
            console.print(_described(found), markup=False, soft_wrap=True)
        console.print("nothing was removed: name it, see `dfml clean --help`" if everything else "nothing to remove")
        return 0
    known = [found.experiment for found in everything if found.kind == "experiment"]
    for name in experiments:
        if name not in known:
            raise DfmlError(f"there is no experiment {name} below results/ or logs/; there are: {', '.join(known)}")
    require_quiet()
    wanted = [f for f in everything if f.kind in kinds or (f.kind == "experiment" and f.experiment in experiments)]
    for found in wanted:
        if found.experiment in experiments:
            _require_not_held(found.experiment)
    for found in wanted:
        size = _amount(found.size)
        if found.experiment and running_jobs(found.experiment):
            console.print(f"kept, a job of it runs: {_described(found)}", markup=False, soft_wrap=True)
            continue
        for path in found.paths:
            _remove(path)
        console.print(f"removed {size}: {', '.join(map(str, found.paths))}", markup=False, soft_wrap=True)
    if not wanted:
        console.print("nothing to remove")
    return 0


def find() -> Iterator[Found]:
    """Everything in this folder that may be removed."""
    names = {path.name for top in ("results", "logs") for path in Path(top).glob("*") if path.is_dir()}
    for name in sorted(names):
        shelf = Path("results", name)
        yield from _found("resume", name, [path for path in shelf.glob("resume/**/*.pt") if path.is_file()])
        yield from _found("partial", name, list(shelf.glob(f"**/.*{PARTIAL}")))
        yield from _found("experiment", name, [path for path in (shelf, Path("logs", name)) if path.exists()])
    caches = [path for path in Path(".cache").glob("*") if path != Path(_SHARED)]
    yield from _found("caches", "", [*caches, *(path for path in map(Path, _CACHES) if path.exists())])


def _found(kind: str, experiment: str, paths: Sequence[Path]) -> Iterator[Found]:
    if paths:
        yield Found(kind, experiment, tuple(sorted(paths)))


def _described(found: Found) -> str:
    if found.kind == "experiment":
        held = " (a job of it runs)" if running_jobs(found.experiment) else ""
        return f"{_amount(found.size)}  --experiment {found.experiment}: all its results and logs{held}"
    where = f" of {found.experiment}" if found.experiment else ""
    return f"{_amount(found.size)}  --{found.kind}{where}: {KINDS[found.kind]}"


def _require_not_held(experiment: str) -> None:
    if jobs := running_jobs(experiment):
        raise DfmlError(f"a job of {experiment} runs, see {jobs[0].log}: wait for its end or end it")


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count as nothing."""
    if path.is_symlink():
        return 0
    if path.is_dir():
        return sum(_size(inner) for inner in path.iterdir())
    return path.stat().st_size


def _remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link and not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _amount(size: int) -> str:
    return f"{size / MEBIBYTE:.1f} MiB"
