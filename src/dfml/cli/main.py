"""The command line of `dfml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from dfml.cli import claims, publish, restore, snapshot, verify
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
    parser = argparse.ArgumentParser(prog="dfml", description="Keep, bring back, check and publish results.")
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
        "Write docs/claims.md: what the published results say about the claims of docs/claims.yaml.",
        lambda own, console: claims.run(console, check=own.check),
    )
    judged.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    return parser


if __name__ == "__main__":
    sys.exit(main())
