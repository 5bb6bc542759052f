"""The command line of `dfml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from dfml.cli import claims, data, publish, restore, snapshot, verify
from dfml.data.known import KNOWN
from dfml.errors import DfmlError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 if all is well, 1 with one message on stderr if not, 2 for bad usage."""
    chosen = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        return chosen.run(chosen, console)
    except DfmlError as error:
        sys.stderr.write(f"dfml {chosen.command}: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dfml", description="Images of data sets; keep, bring back, check and publish results."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace, Console], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

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
    images = commands.add_parser("data", help="Images of data sets: what is there, can it be read, get it.")
    actions = images.add_subparsers(dest="action", required=True, metavar="ACTION")
    looked = actions.add_parser("status", help="which data sets are there, and what to put where; opens no image")
    looked.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    looked.set_defaults(run=lambda own, console: data.status(console, configfiles=own.configfile))
    read = actions.add_parser("check", help="read every image of a folder or archive as a run would; keeps nothing")
    read.add_argument("path", metavar="PATH")
    read.add_argument("--source", choices=["folder", *KNOWN], default="folder", help="which data set it is a copy of")
    read.add_argument("--side", type=int, help="height and width in pixels; by default that of the data set")
    read.set_defaults(run=lambda own, console: data.check(console, own.path, source=own.source, side=own.side))
    got = actions.add_parser("get", help="download a public data set to data/NAME, where torchvision can")
    got.add_argument("name", metavar="NAME", help=f"one of {', '.join(data.DOWNLOADERS)}")
    got.set_defaults(run=lambda own, console: data.get(console, own.name))
    return parser


if __name__ == "__main__":
    sys.exit(main())
