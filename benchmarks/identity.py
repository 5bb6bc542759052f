"""Whether two shelves hold the same results: ``python -m benchmarks.identity SHELF SHELF``, or of two commits.

A shelf is the folder of an experiment, such as ``results/demo``. What is compared is what the files hold: names,
dtypes, shapes and bytes of tensors, and the accuracies of records; not the containers, which say when and how they were
made. The second form runs the same experiment at two commits, each in a clone and an environment of its own, and
compares what they left: ``python -m benchmarks.identity --commits A B [--configfile FILE ...]``. Both are given the
same files, those of this folder; what these leave out is what each commit's own config/config.yaml says.

Exit status: 0 if all is the same, 1 if something differs, 2 if there is nothing to compare.

Nothing of dfml is imported, for shelves of other commits must be readable too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import SafetensorError, deserialize

ROOT = Path(__file__).resolve().parents[1]

KINDS = {
    "zoos": ("zoo/**/zoo.safetensors", "zoo/**/judges.safetensors"),
    "generators": ("inversion/**/generator.safetensors",),
    "banks": ("inversion/**/bank.npz",),
    "learners": ("metalearning/**/learner.safetensors",),
    "records": ("evaluation/**/record.json",),
}
"""What is compared, by kind: patterns below the shelf."""

PLACE = ("dataset", "rule", "batch_norm")
NUMBERS = ("accuracy", "ci95", "accuracies_digest")

# Names that safetensors gives to numpy's dtypes. Others, which numpy lacks, keep their own.
DTYPES = {
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}

# Variables by which the caller's own environment would decide what is run; a cache would hand one commit's zoos to the
# other.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "SNAKEMAKE_PROFILE", "SNAKEMAKE_OUTPUT_CACHE")

# What readers raise of a file that is cut off, of something else, or without what is looked for.
DAMAGE = (SafetensorError, zipfile.BadZipFile, zlib.error, OSError, EOFError, LookupError, TypeError, ValueError)

Contents = dict[str, str]
"""What one file holds: each part's value, or a text that stands for it, by the part's name."""


class UsageError(Exception):
    """There is nothing to compare."""


def read(path: Path) -> Contents:
    """What a file holds; a damaged one raises ValueError."""
    try:
        if path.suffix == ".json":
            return dict(_accuracies(path))
        return dict(_arrays(path) if path.suffix == ".npz" else _tensors(path))
    except DAMAGE as error:
        raise ValueError(f"cannot be read: {error}") from error


def _tensors(path: Path) -> Iterator[tuple[str, str]]:
    for name, tensor in deserialize(path.read_bytes()):
        yield name, _stamp(DTYPES.get(tensor["dtype"], tensor["dtype"]), tensor["shape"], bytes(tensor["data"]))


def _arrays(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        for name in file.files:
            array = file[name]
            # As safetensors keeps them: row by row, least significant byte first.
            ordered = array.astype(array.dtype.newbyteorder("<"), copy=False)
            yield name, _stamp(ordered.dtype.name, array.shape, ordered.tobytes(order="C"))


def _stamp(dtype: str, shape: Sequence[int], content: bytes) -> str:
    return f"{dtype} {list(shape)} {hashlib.sha256(content).hexdigest()}"


def _accuracies(path: Path) -> Iterator[tuple[str, str]]:
    for result in json.loads(path.read_text(encoding="utf-8"))["results"]:
        place = " / ".join(str(result[key]) for key in PLACE)
        for number in NUMBERS:
            yield f"{place}: {number}", json.dumps(result[number])


def files_of(shelf: Path, kind: str) -> dict[str, Path]:
    """The files of one kind by their path below the shelf."""
    found = sorted(path for pattern in KINDS[kind] for path in shelf.glob(pattern) if path.is_file())
    return {path.relative_to(shelf).as_posix(): path for path in found}


def compare(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """(a line per kind with how much was compared, a line per difference) of two shelves.

    Raises:
        UsageError: a folder is missing, or neither has any of the files.
    """
    for shelf in (first, second):
        if not shelf.is_dir():
            raise UsageError(f"there is no folder {shelf}")
    counts, differences, total = [], [], 0
    for kind in KINDS:
        left, right = files_of(first, kind), files_of(second, kind)
        total += len(left) + len(right)
        digest, parts = hashlib.sha256(), 0
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                there, path = (first, left[name]) if name in left else (second, right[name])
                differences.append(f"{path.relative_to(there)}: only in {there}")
                continue
            path = left[name].relative_to(first)
            try:
                contents = read(left[name]), read(right[name])
            except ValueError as error:
                differences.append(f"{path}: {error}")
                continue
            found = list(_differing(*contents, first, second))
            differences += [f"{path}: {difference}" for difference in found]
            parts += len(contents[0])
            digest.update(json.dumps([name, sorted(contents[0].items())]).encode())
        size = f"{len(left)} and {len(right)} files, {parts} parts in common files of the first"
        counts.append(f"{kind}: {size}, SHA-256 {digest.hexdigest()}")
    if not total:
        raise UsageError(f"neither {first} nor {second} has a zoo, generator, bank, learner or record")
    return counts, differences


def _differing(left: Contents, right: Contents, first: Path, second: Path) -> Iterator[str]:
    for name in sorted(left.keys() | right.keys()):
        if name not in right:
            yield f"{name} only in {first}"
        elif name not in left:
            yield f"{name} only in {second}"
        elif left[name] != right[name]:
            yield f"{name} differs: {left[name]} and {right[name]}"


def shelf_of_commit(commit: str, folder: Path, configuration: Sequence[Path]) -> Path:
    """Run the workflow at one commit, in a clone of its own in ``folder``; returns the shelf that it fills.

    Raises:
        UsageError: there is no such commit, or the workflow fails there.
    """
    _call("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    _call("git", "-c", "advice.detachedHead=false", "checkout", "--quiet", commit, folder=folder)
    files = ["--configfile", *(str(path.resolve()) for path in configuration)] if configuration else []
    _call("./run.sh", "snakemake", "--cores", "all", "--quiet", "rules", *files, folder=folder)
    shelves = [path for path in (folder / "results").iterdir() if path.is_dir()]
    if len(shelves) != 1:
        raise UsageError(f"{commit} left {len(shelves)} shelves, not one")
    return shelves[0]


def _call(*command: str, folder: Path | None = None) -> None:
    """Run a command; what it prints goes to stderr, since stdout has the comparison."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )
    if done.returncode:
        raise UsageError(f"`{' '.join(command)}` failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.identity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shelves", nargs="*", type=Path, metavar="SHELF", help="two folders such as results/demo")
    parser.add_argument("--commits", nargs=2, metavar=("A", "B"), help="run the experiment at these two instead")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="with --commits")
    options = parser.parse_args(arguments)
    if len(options.shelves) != (0 if options.commits else 2):
        parser.error("give two shelves, or --commits A B and no shelf")
    if options.configfile and not options.commits:
        parser.error("--configfile says what is run with --commits")
    if missing := [str(path) for path in options.configfile if not path.is_file()]:
        parser.error(f"there is no file {' and no '.join(missing)}")
    try:
        if not options.commits:
            return report(*options.shelves)
        with TemporaryDirectory() as folder:
            clones = [Path(folder, name) for name in ("first", "second")]
            return report(*map(shelf_of_commit, options.commits, clones, [options.configfile] * 2))
    except UsageError as error:
        sys.stderr.write(f"identity: {error}\n")
        return 2


def report(first: Path, second: Path) -> int:
    """Print what was compared and how it differs; returns the exit status."""
    counts, differences = compare(first, second)
    verdict = f"{len(differences)} differences" if differences else "the same"
    sys.stdout.write("\n".join([*counts, *differences, verdict]) + "\n")
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
