"""`dfml snapshot`: record the default experiment's results as a version that DVC can bring back."""

from __future__ import annotations

from rich.console import Console

from dfml.cli.tools import dvc, require_quiet, require_repository
from dfml.cli.verify import WRONG, show, verify
from dfml.errors import DfmlError


def run(console: Console, *, push: bool, remote: str | None) -> int:
    """Check the shelf, record it in DVC's cache and `dvc.lock`, and send it to a remote if asked.

    Raises:
        DfmlError: something is damaged, stale or missing, a run is going on, or DVC fails.
    """
    require_repository()
    require_quiet()
    findings = [finding for finding in verify(()) if finding.kind in WRONG]
    if findings:
        show(findings, console)
        raise DfmlError("nothing was recorded: the results above are not what config/config.yaml describes")
    dvc("repro", "--single-item", "publish")
    dvc("commit", "--force", "--quiet")
    console.print("Recorded in dvc.lock. To keep the version: git add dvc.lock docs README.md && git commit")
    if push:
        dvc("push", *(["--remote", remote] if remote else []))
        console.print(f"Sent to {'the default remote' if remote is None else remote}.")
    return 0
