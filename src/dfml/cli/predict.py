"""`dfml predict`: the classes of photos."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from dfml.errors import DataError, printable

SOME_UNREADABLE = 3
"""Exit code where some photos could not be read; the others were answered."""


def run(classifier: Path, photos: Sequence[Path], *, as_csv: bool) -> int:
    """The command: one line per photo on stdout, and one on stderr per photo that cannot be read.

    Raises:
        FileFormatError: the classifier is missing, damaged or of another version.
    """
    from dfml.use.classifier import load_classifier

    classify = load_classifier(classifier)
    table = csv.writer(sys.stdout, lineterminator="\n")
    if as_csv:
        table.writerow(["photo", "class", "probability", *classify.names])
    unreadable = 0
    for photo in photos:
        try:
            answer = classify(photo)
        except DataError as error:
            sys.stderr.write(f"dfml predict: {error}\n")
            unreadable += 1
            continue
        if as_csv:
            shares = [f"{share:.4f}" for share in (answer.probability, *answer.probabilities.values())]
            table.writerow([photo, answer.name, *shares])
        else:
            sys.stdout.write(printable(f"{photo}  {answer.name}  {answer.probability:.2f}") + "\n")
    if unreadable:
        sys.stderr.write(f"dfml predict: {unreadable} of {len(photos)} photos could not be read\n")
    if unreadable == len(photos):
        return 1
    return SOME_UNREADABLE if unreadable else 0
