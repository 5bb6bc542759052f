"""Results on the terminal, as JSON and as Markdown: ``python -m benchmarks.report FILE.json`` prints the tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from benchmarks.arms import Case, measure
from dfml.compute.device import configure_torch, describe_device
from dfml.compute.placement import channels_last

COLUMNS = ("", "ours, ms", "reference, ms", "ratio", "range of ratios", "floor, ms", "differ by", "peak MB")


def default_device() -> str:
    """``cuda`` where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def arguments(description: str) -> argparse.ArgumentParser:
    """What every benchmark understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--device", default=default_device(), help="cpu or cuda; by default cuda where there is one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of each arm")
    parser.add_argument(
        "--float32",
        dest="tf32",
        action="store_false",
        help="ours with `runtime.tf32: false`; the reference's torch rounds in convolutions on CUDA all the same",
    )
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, refused before minutes are spent on what cannot be run or written."""
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: no CUDA device was found; leave it out or say cpu")
    options.tf32 = options.tf32 and options.device != "cpu"
    if options.threads < 1:
        parser.error("--threads: at least 1")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: its folder does not exist; make it first")
    return options


def run(title: str, cases: Callable[[str], Sequence[Case]]) -> None:
    """The whole of a benchmark called by itself: measure the cases, show them, write them."""
    options = parsed(arguments(title))
    measure_all(title, cases(options.device), options)


def measure_all(
    title: str, cases: Sequence[Case], options: argparse.Namespace, before: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Measure cases one after another and show a table; the floor is one of the same precision.

    ``options`` are those of :func:`arguments`. The file that they name has every case as soon as it is measured, after
    the results of ``before``: what is stopped keeps what it has.
    """
    device, threads, tf32 = options.device, options.threads, options.tf32
    ceilings = machine_ceilings(device, threads, tf32=tf32)
    results: list[dict[str, Any]] = []
    console = Console(width=140)
    for case in cases:
        started = time.monotonic()
        result = measure(case, device, threads, tf32=tf32)
        result["floor_ms"] = floor_ms(case, ceilings)
        results.append(result)
        if options.json:
            write(options.json, [*before, *results], device, tf32=tf32)
        console.print(f"{case.name}: {result['ratio']:.2f}x ({time.monotonic() - started:.0f} s)")
    console.print(table(title, results))
    return results


def floor_ms(case: Case, ceilings: dict[str, float]) -> float | None:
    """The larger of operations over the machine's rate and bytes over its bandwidth, per unit."""
    times = []
    if case.flops:
        times.append(case.flops / ceilings["flops"])
    if case.bytes:
        times.append(case.bytes / ceilings["bandwidth"])
    return 1000 * max(times) if times else None


def machine_ceilings(device: str, threads: int, *, tf32: bool = False) -> dict[str, float]:
    """Float32 operations and bytes per second: the better of a large product and a large convolution; a large copy."""
    configure_torch(threads, torch.device(device), tf32=tf32)
    side, images = (8192, 1024) if device != "cpu" else (2048, 64)
    a, b = torch.randn(side, side, device=device), torch.empty(side, side, device=device)
    x, kernel = (
        channels_last(torch.randn(images, 128, 32, 32, device=device)),
        torch.randn(128, 128, 3, 3, device=device),
    )
    operations = 2 * images * 32 * 32 * 128 * 128 * 9
    return {
        "flops": max(
            2 * side**3 / _best(lambda: torch.mm(a, a, out=b), device),
            operations / _best(lambda: F.conv2d(x, kernel, padding=1), device),
        ),
        "bandwidth": 2 * 4 * side**2 * 8 / _best(lambda: [b.copy_(a) for _ in range(8)], device),
    }


def _best(work: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(5):
        if device != "cpu":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def table(title: str, results: Sequence[dict[str, Any]]) -> Table:
    """The results for people."""
    shown = Table(title=title, title_justify="left")
    for heading in COLUMNS:
        shown.add_column(heading, justify="left" if not heading else "right")
    for row in results:
        shown.add_row(*_compared(row))
    return shown


def to_markdown(content: dict[str, Any]) -> str:
    """The results of one JSON file as a Markdown table, with what they were measured on."""
    rows = content["results"]
    if "ratio" in rows[0]:
        header, cells = list(COLUMNS), [_compared(row) for row in rows]
    elif "rule" in rows[0]:
        header = ["rule", "experiment", "jobs", "longest, s", "peak MB"]
        cells = [[str(value) for value in row.values()] for row in rows]
    else:
        header, cells = ["", "ms", "per"], [[row["name"], f"{row['ours_ms']:.3g}", row["per"]] for row in rows]
        if "peak_memory_mb" in rows[0]:
            header.append("peak MB")
            cells = [[*line, f"{row['peak_memory_mb']:.0f}"] for line, row in zip(cells, rows, strict=True)]
    lines = [header, ["---"] * len(header), *cells]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    precision = ", ours with TF32" if content.get("tf32") else ""
    return f"*{content['device']}, {content['cpus']} cores, torch {content['torch']}{precision}*\n\n{table}\n"


def _compared(row: dict[str, Any]) -> list[str]:
    low, high = row["ratio_range"]
    return [
        row["name"],
        f"{row['ours_ms']:.3g}",
        f"{row['reference_ms']:.3g}",
        f"{row['ratio']:.2f}",
        f"{low:.2f} to {high:.2f}",
        "-" if row["floor_ms"] is None else f"{row['floor_ms']:.2g}",
        "-" if row["difference"] is None else f"{row['difference']:.0e}",
        " / ".join(f"{mb:.0f}" for mb in row["peak_memory_mb"]),
    ]


def write(path: Path, results: Sequence[dict[str, Any]], device: str, *, tf32: bool = False) -> None:
    """Write results as JSON, with what they were measured on."""
    content = with_machine(results, device, tf32=tf32)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def with_machine(results: Sequence[dict[str, Any]], device: str, *, tf32: bool = False) -> dict[str, Any]:
    """Results with the machine, that is this one, and torch's version."""
    return {
        "device": describe_device(torch.device(device)),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "tf32": tf32,
        "results": list(results),
    }


if __name__ == "__main__":
    Console(soft_wrap=True).print(to_markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), markup=False)
