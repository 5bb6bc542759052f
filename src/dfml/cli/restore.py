"""`dfml restore`: bring a recorded version of the default experiment back, and have Snakemake trust exactly it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from dfml.cli import verify
from dfml.cli.tools import dvc, dvc_status, require_quiet, require_repository, snakemake
from dfml.errors import DfmlError


def run(console: Console, *, remote: str | None) -> int:
    """Fetch what `dvc.lock` names, check it, and mark it as made by the present configuration and code.

    Modification times and Snakemake's own records do not travel; they are made anew, which is sound only because
    nothing that the results were made from differs. So that is what is asked first.

    Raises:
        DfmlError: the configuration or the code is not the recorded one, a file cannot be fetched, or is not what
            was recorded.
    """
    require_repository()
    require_quiet()
    if not Path("dvc.lock").is_file():
        raise DfmlError("there is no dvc.lock: nothing was recorded at this commit (`dfml snapshot` does that)")
    if differing := list(dict.fromkeys(foreign_sources(dvc_status()))):  # most stages depend on the same code
        raise DfmlError(
            "dvc.lock records results of other settings or other code; nothing was fetched. These differ:\n"
            + "\n".join(f"  {name}" for name in differing)
            + "\nCheck out the commit that recorded them (`git log -1 dvc.lock`), or run the workflow instead."
        )
    console.print("Fetching what dvc.lock names.")
    dvc("pull", *(["--remote", remote] if remote else []))
    if remaining := dvc_status():
        raise DfmlError(f"after fetching, these stages are not what dvc.lock records: {', '.join(remaining)}")
    snakemake("--touch", "--forceall", "--cores", "1", "--quiet", "all")
    return verify.run((), console)


def foreign_sources(status: dict[str, Any]) -> Iterator[str]:
    """What a stage depends on from outside that differs from its record: keys of the configuration, folders of code.

    Results of earlier stages are left out: before fetching they are not there, and fetching brings them.
    """
    for changes in status.values():
        for change in changes:
            if isinstance(change, str):  # "changed command": dvc.yaml is another
                yield f"dvc.yaml ({change})"
                continue
            for name, what in change.get("changed deps", {}).items():
                if isinstance(what, dict):
                    yield from (f"{name}: {key} ({how})" for key, how in what.items())
                elif not name.startswith("results/"):
                    yield f"{name} ({what})"
