"""The table of ICFIL: the same learners on the same episodes with PURER's supplement and without."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfml.records.icfil import IcfilRecord
from dfml.records.naming import method_label
from dfml.tables.table import Cell, Column, Section, Table

_NUMBERS = ("without", "with", "difference")


def icfil_table(records: Sequence[IcfilRecord]) -> Table:
    """One row per cell, data set and batch-norm mode."""
    data = [
        {
            "pool": record.pool,
            "method": record.method,
            "ways": record.ways,
            "shots": record.shots,
            "seed": record.seed,
            **result.model_dump(by_alias=True),
            "seconds": record.seconds,
        }
        for record in records
        for result in record.results
    ]
    cells = [
        [
            Cell(row["pool"]),
            Cell(method_label(row["method"])),
            Cell(str(row["shots"])),
            Cell(str(row["seed"])),
            Cell(row["dataset"]),
            Cell(row["batch_norm"]),
            Cell(str(row["episodes"])),
            *(Cell(f"{row[name]:.1f} ± {row[f'{name}_ci95']:.1f}") for name in _NUMBERS),
            Cell(f"{row['seconds']:.0f}"),
        ]
        for row in data
    ]
    columns = [Column("pool", numeric=False), Column("method", numeric=False), Column("shots"), Column("seed")]
    columns += [Column("data set", numeric=False), Column("batch norm", numeric=False), Column("episodes")]
    columns += [Column(name, group="accuracy (%), fine-tuned") for name in _NUMBERS]
    return Table(
        stem="icfil",
        caption="ICFIL: fine-tuned learners with PURER's supplement at meta-test, and without",
        data=pd.DataFrame(data),
        sections=[Section("", [*columns, Column("seconds")], cells)],
        notes=[
            "The first meta-test episodes; half widths of 95 % intervals over them; the difference is paired.",
            "Seconds are of all of a learner's episodes and data sets, both answers.",
        ]
        + ([] if data else ["Nothing was measured: `icfil.episodes` is 0, or no method of it ran."]),
    )
