"""Records: what an evaluation wrote for one cell, and the one long table made of all of them.

Torch-free, as everything from here on downstream: tables and figures must start in a second.
"""

from dfml.records.artefacts import (
    InversionSummary,
    SpeedSummary,
    ZooSummary,
    read_inversions,
    read_speeds,
    read_zoos,
)
from dfml.records.collect import (
    RESULT_COLUMNS,
    collect,
    collect_records,
    read_results_csv,
    write_results_csv,
)
from dfml.records.grid import GridCell, check_against_grid, read_grid
from dfml.records.record import CurvePoint, Record, Result, read_record

__all__ = [
    "RESULT_COLUMNS",
    "CurvePoint",
    "GridCell",
    "InversionSummary",
    "Record",
    "Result",
    "SpeedSummary",
    "ZooSummary",
    "check_against_grid",
    "collect",
    "collect_records",
    "read_grid",
    "read_inversions",
    "read_record",
    "read_results_csv",
    "read_speeds",
    "read_zoos",
    "write_results_csv",
]
