"""The table of what choosing the best moment of a curve adds (F01)."""

import pytest

from dfml.artefacts.record import Record
from dfml.results.figures.curves import curve_frame
from dfml.results.tables.selection import selection_table
from support.manifests import fields, record

METHODS = ["mixed_heads", "free_heads", "free"]


def curves(*given):
    """The frame of these curves, each a method, a seed and accuracies."""
    facts = {"ci95": 1.0, "rule": "finetune", "batch_norm": "transductive"}
    records = []
    for method, seed, accuracies in given:
        curve = [{"iteration": i, "seconds": 1.0 + i, "accuracy": one, **facts} for i, one in enumerate(accuracies)]
        records.append(Record(**fields(record(method=method, seed=seed, curve=curve))))
    return curve_frame(records)


def test_last_best_and_their_difference_over_seeds():
    rising, falling = [22.0, 30.0, 36.0], [20.0, 40.0, 35.0]
    frame = curves(("free", 0, falling), ("free", 1, rising), ("free_heads", 0, falling), ("mixed_heads", 0, [33.0]))
    table = selection_table(frame, pools=["single"], methods=METHODS)
    # In the order of the methods, and a single point is no choice. Of the gains 5 and 0 the half-width is that of
    # Student's t with one degree of freedom, 12.7062, times their deviation over the root of two, 2.5.
    assert [tuple(cell.text for cell in (row[2], *row[5:])) for row in table.sections[0].rows] == [
        ("FREE + heads", "3", "35.00", "40.00", "5.00 ± n/a (1)"),
        ("FREE", "3", "35.50", "38.00", "2.50 ± 31.77 (2)"),
    ]
    assert table.data["gain_t95"].iloc[1] == pytest.approx(12.7062 * 2.5, abs=1e-3)


def test_without_curves_it_says_so():
    table = selection_table(curves(), pools=["single"], methods=METHODS)
    assert table.data.empty
    assert table.notes == ["No learning curve of two points was recorded in this experiment."]
