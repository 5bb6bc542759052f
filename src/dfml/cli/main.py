"""The command line of `dfml`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from dfml.cli import (
    adapt,
    claims,
    clean,
    compare,
    data,
    evaluate,
    predict,
    publish,
    restore,
    snapshot,
    sweep,
    verify,
    watch,
    zoo,
)
from dfml.data.known import KNOWN
from dfml.errors import DfmlError, printable

PIPED_COLUMNS = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        Its exit code, see docs/commands.md.
    """
    chosen = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be in no encoding
    # Remarks of Pillow's on pictures that it could read; those that it could not are named by the commands.
    warnings.filterwarnings("ignore", module=r"PIL\b")
    # Into a pipe or a file Rich would write 80 columns, too few for the tables here.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    try:
        _register(getattr(chosen, "network", []))
        code = chosen.run(chosen, console)
        sys.stdout.flush()
        return code
    except DfmlError as error:
        sys.stderr.write(f"dfml {chosen.command}: {error}\n")
        return 1
    except BrokenPipeError:
        _drop_output()  # who reads has seen enough
        return 128 + signal.SIGPIPE
    except OSError as error:
        fault = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        sys.stderr.write(f"dfml {chosen.command}: {printable(fault)}\n")
        _drop_output()
        return 1
    except MemoryError as error:
        sys.stderr.write(f"dfml {chosen.command}: there is not enough memory ({error}); ask for less at a time\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _drop_output() -> None:
    """Forget what is printed and cannot be written: the interpreter would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _register(named: Sequence[str]) -> None:
    """Take networks given as NAME=FILE for known."""
    if named:
        from dfml.methods.settings import missing_file
        from dfml.networks.custom import register_networks

        files = dict(one.partition("=")[::2] for one in named)
        if missing := [one for one in named if not one.partition("=")[2]]:
            raise DfmlError(f"--network {missing[0]}: give it as NAME=FILE")
        for name, file in files.items():
            if lacking := missing_file(file):
                raise DfmlError(f"--network {name}={file}: {lacking}")
        register_networks(files)


def _parser() -> argparse.ArgumentParser:
    text = "Use learners; look after images; keep, bring back, check and publish results."
    parser = argparse.ArgumentParser(prog="dfml", description=text)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    _add_uses(add)
    checked = add(
        "verify",
        "Recompute the digests of all results; say what is damaged, stale, missing or foreign.",
        lambda own, console: verify.run(["--configfile", *own.configfile] if own.configfile else (), console),
    )
    checked.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    kept = add(
        "snapshot",
        "Record the default experiment's results with DVC; refuses stale or partial ones.",
        lambda own, console: snapshot.run(console, push=own.push or own.remote is not None, remote=own.remote),
    )
    kept.add_argument("--push", action="store_true", help="send them to the default remote")
    kept.add_argument("--remote", metavar="NAME", help="send them to this remote")
    fetched = add(
        "restore",
        "Fetch the results that dvc.lock records, check them, and have Snakemake trust them.",
        lambda own, console: restore.run(console, remote=own.remote),
    )
    fetched.add_argument("--remote", metavar="NAME", help="fetch from this remote")
    copied = add(
        "publish",
        "Copy an experiment's tables, figures and metrics to docs/results/.",
        lambda own, console: publish.run(own.experiment, console),
    )
    copied.add_argument("experiment", help="folder below results/")
    judged = add(
        "claims",
        "Write what results and YAML files say into docs/claims.md and docs/published.md.",
        lambda own, console: claims.run(console, check=own.check),
    )
    judged.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    _add_sweeps(add)
    _add_upkeep(add)
    _add_data(commands.add_parser("data", help="Images of data sets: what is there, can it be read, get it."))
    _add_zoo(commands.add_parser("zoo", help="Zoos: import models that were trained elsewhere, see what one holds."))
    return parser


def _add_zoo(command: argparse.ArgumentParser) -> None:
    """What `dfml zoo` does."""
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    taken = actions.add_parser(
        "import", help="check every model of a card as the workflow will, and say what was found"
    )
    taken.add_argument("card", type=Path, metavar="CARD.yaml")
    taken.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="keep the zoo there")
    taken.set_defaults(run=lambda own, console: zoo.import_card(console, own.card, output=own.output))
    shown = actions.add_parser("show", help="list the models of a zoo below results/EXPERIMENT/zoo/")
    shown.add_argument("folder", type=Path, metavar="FOLDER")
    shown.set_defaults(run=lambda own, console: zoo.show(console, own.folder))


def _add_sweeps(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands about several experiments."""
    swept = add(
        "sweep",
        "Run every combination of settings as an experiment of its own, all with the same zoos; then compare them.",
        lambda own, console: sweep.run(console, words=own.words, dry_run=own.dry_run),
    )
    swept.add_argument("words", nargs="+", metavar="FILE|KEY=VALUES", help="as in zoo.models=4,8 or 'seeds=[0],[1]'")
    swept.add_argument("-n", "--dry-run", action="store_true", help="check, write the files, let Snakemake only plan")
    compared = add(
        "compare",
        "Join the results of experiments on the settings in which they differ.",
        lambda own, console: compare.run(console, own.folders, output=own.csv),
    )
    compared.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="below results/")
    compared.add_argument("--csv", type=Path, metavar="FILE", help="write every number as CSV instead")


def _add_upkeep(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands that look at what runs and at what lies about."""
    watched = add(
        "watch",
        "Show the jobs at work, how far each is, and the last values of its history.csv, until nothing runs.",
        lambda own, console: watch.run(own.experiment, console, every=own.every),
    )
    watched.add_argument("experiment", nargs="?", help="folder below results/; that of config/config.yaml by default")
    watched.add_argument("--every", type=_positive, default=10, metavar="N", help="seconds between lines (10)")
    cleaned = add(
        "clean",
        "Say what may be removed and how large it is; remove what is named, and nothing that a running job holds.",
        lambda own, console: clean.run(
            console, kinds=[kind for kind in clean.KINDS if getattr(own, kind)], experiments=own.experiment
        ),
    )
    for kind, text in clean.KINDS.items():
        cleaned.add_argument(f"--{kind}", action="store_true", help=f"remove {text}")
    text = "remove all results and logs of experiments"
    cleaned.add_argument("--experiment", nargs="+", default=[], metavar="NAME", help=text)


def _add_data(command: argparse.ArgumentParser) -> None:
    """What `dfml data` does."""
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    looked = actions.add_parser("status", help="which data sets are there, and what to put where; opens no image")
    looked.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    looked.set_defaults(run=lambda own, console: data.status(console, configfiles=own.configfile))
    read = actions.add_parser("check", help="read every image of a folder or archive as a run would; keeps nothing")
    read.add_argument("path", metavar="PATH")
    read.add_argument("--source", choices=["folder", *KNOWN], default="folder", help="which data set it is a copy of")
    read.add_argument("--side", type=int, help="height and width in pixels; by default that of the data set")
    text = "shares of the classes for meta-train, meta-val and meta-test, as in a configuration: 0 0 1 to measure only"
    read.add_argument("--fractions", type=float, nargs=3, metavar=("TRAIN", "VAL", "TEST"), help=text)
    read.set_defaults(
        run=lambda own, console: data.check(
            console, own.path, source=own.source, side=own.side, fractions=own.fractions
        )
    )
    got = actions.add_parser("get", help="download a public data set to data/NAME, where torchvision can")
    got.add_argument("name", metavar="NAME", help=f"one of {', '.join(data.DOWNLOADERS)}")
    got.set_defaults(run=lambda own, console: data.get(console, own.name))


def _add_uses(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands that use a learner."""
    adapted = add(
        "adapt",
        "Adapt a learner to the photos of a folder, one sub-folder per class, and keep the classifier in a file.",
        lambda own, console: adapt.run(
            console,
            learner=own.learner,
            folder=own.folder,
            output=own.output,
            rule=own.rule,
            domain=own.domain,
            side=own.side,
        ),
    )
    asked = add(
        "predict",
        "Say what is in photos. Those that cannot be read are named; the exit code is 3 then, and 1 if none can.",
        lambda own, console: predict.run(own.classifier, own.photos, as_csv=own.csv),
    )
    measured = add(
        "evaluate",
        "Measure a learner on episodes of a folder with one sub-folder of photos per class.",
        lambda own, console: evaluate.run(
            console,
            learner=own.learner,
            folder=own.folder,
            ways=own.ways,
            shots=own.shots,
            domain=own.domain,
            side=own.side,
            changes={"queries": own.queries, "episodes": own.episodes, "episode_seed": own.seed},
        ),
    )
    for command in (adapted, asked, measured):
        text = "where the network NAME is that a learner is made of and this package does not have; such a file is run"
        command.add_argument("--network", action="append", default=[], metavar="NAME=FILE", help=text)
    for command in (adapted, measured):
        command.add_argument("learner", type=Path, help="folder of a learner, below results/…/metalearning/")
        command.add_argument("folder", type=Path, help="folder with one sub-folder of photos per class")
        command.add_argument("--domain", metavar="NAME", help="whose images the photos are like")
        command.add_argument("--side", type=int, metavar="N", help="to how many pixels, where the learner takes any")
    adapted.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .safetensors")
    adapted.add_argument("--rule", metavar="RULE", help="finetune, centroid_euclidean or centroid_cosine")
    asked.add_argument("classifier", type=Path, help="file that dfml adapt wrote")
    asked.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="picture files")
    asked.add_argument("--csv", action="store_true", help="print CSV with the probability of every class")
    default = "; as in training by default"
    measured.add_argument("--ways", type=_positive, metavar="N", help=f"classes of an episode{default}")
    measured.add_argument("--shots", type=_positive, metavar="N", help=f"support photos per class{default}")
    measured.add_argument("--queries", type=_positive, metavar="N", help="query photos per class")
    measured.add_argument("--episodes", type=_positive, metavar="N", help="how many episodes")
    measured.add_argument("--seed", type=int, metavar="N", help="of the draw of episodes")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
