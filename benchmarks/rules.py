"""What jobs of each rule took, from the logs of finished runs: ``python -m benchmarks.rules logs/demo … --json FILE``.

A log ends with the seconds of its job and the peak of its memory, as the kernel keeps it: unlike Snakemake's own
benchmark files it misses nothing between two looks. On a GPU it is the GPU's memory, so such logs are no use here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report import to_markdown, with_machine, write

ENDING = re.compile(r"finished in (?:(\d+) h ?)?(?:(\d+) min ?)?(?:(\d+) s)?, peak (\d+) MiB")


def read(logs: Path) -> Iterator[dict[str, Any]]:
    """Of each rule in the folder of an experiment's logs: how many jobs, the longest, and the greatest peak."""
    for folder in sorted(path for path in logs.iterdir() if path.is_dir()):
        texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.log")]
        jobs = [found[-1] for text in texts if (found := ENDING.findall(text))]
        if jobs:
            yield {
                "rule": folder.name,
                "experiment": logs.name,
                "jobs": len(jobs),
                "seconds": max(3600 * int(h or 0) + 60 * int(m or 0) + int(s or 0) for h, m, s, _ in jobs),
                "peak_memory_mb": max(int(memory) for *_, memory in jobs),
            }


def main() -> None:
    """Read, show, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("logs", nargs="+", type=Path, help="folders such as logs/demo, of runs on this kind of machine")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    options = parser.parse_args()
    if strange := [str(path) for path in options.logs if not path.is_dir()]:
        parser.error(f"no such folder: {', '.join(strange)}")
    rows = sorted((row for logs in options.logs for row in read(logs)), key=lambda row: row["rule"])
    if not rows:
        parser.error("no job of these logs has finished")
    Console(soft_wrap=True).print(to_markdown(with_machine(rows, "cpu")), markup=False)
    if options.json:
        write(options.json, rows, "cpu")


if __name__ == "__main__":
    main()
