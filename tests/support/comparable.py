"""What the results of two runs of one experiment must have in common: everything but time, memory and place."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

# Not results: receipts and records tell which process made a file and when; resume files are gone after a whole run.
ASIDE = ("receipts", "resume")
# Seconds, their ratios (times_first) and memory differ from run to run; provenance holds the command, the host and the
# digests of inputs, and those of JSON inputs differ with the seconds in them.
PASSING = re.compile(r"seconds|^times_first$|memory|^stages$|^provenance$")
# Pictures and texts of measured seconds. The numbers beside the seconds are compared in the table of the same name
# in CSV; what the figures show beside seconds is in the records and in speed.json.
OF_SECONDS = re.compile(
    r"tables/(zoo|inversion|speed|cost)\.(md|tex|html)"
    r"|figures/(learning_curves|accuracy_seconds|inner_steps|bank_quality)\.(svg|png)"
    # Snakemake's report shows the start and run time of every job.
    r"|report\.html"
)


def digests(results: Path) -> dict[str, str]:
    """A digest of every comparable file below ``results`` by its path; equal for runs that agree bit for bit."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if path.is_file() and name.split("/")[0] not in ASIDE and not OF_SECONDS.fullmatch(name):
            found[name] = hashlib.sha256(_comparable(path)).hexdigest()
    return found


def _comparable(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(_without_passing(json.loads(path.read_bytes())), sort_keys=True).encode()
    if path.suffix == ".csv":
        with io.StringIO(path.read_text(encoding="utf-8"), newline="") as text:
            rows = [_without_passing(row) for row in csv.DictReader(text)]
        return json.dumps(rows).encode()
    return path.read_bytes()


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_passing(item) for key, item in value.items() if not PASSING.search(key)}
    if isinstance(value, list):
        return [_without_passing(item) for item in value]
    return value
