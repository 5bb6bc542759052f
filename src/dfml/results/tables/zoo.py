"""The zoo table: how good the models are that everything downstream learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

import pandas as pd

from dfml.artefacts.imported_zoo import ImportedZooManifest
from dfml.artefacts.zoo import ZooManifest
from dfml.results.tables.table import Column, Table, TableCell, TableSection, number

_COLUMNS = ["dataset", "architecture", "family", "width", "seed", "models"]
_COLUMNS += ["accuracy_mean", "accuracy_min", "accuracy_max", "seconds"]

IMPORTED = "imported"
"""What stands in the architecture column of a zoo from elsewhere, whose models may all differ."""

ALL_SEEDS = "all"
"""What stands in the seed column of the row over all seeds."""


def zoo_table(zoos: Sequence[ZooManifest], imported: Sequence[ImportedZooManifest] = ()) -> Table:
    """Own accuracy of the stored models: mean, least and greatest, per zoo and over all seeds.

    Of ``imported`` zoos it is what their owners say, of those models of which they say it.
    """
    breaks: set[int] = set()
    data: list[dict] = []
    for (dataset, architecture), members in groupby(zoos, key=lambda zoo: (zoo.dataset, zoo.architecture)):
        group = list(members)
        breaks.add(len(data))
        rows = [(str(zoo.seed), [zoo]) for zoo in group]
        if len(group) > 1:
            rows.append((ALL_SEEDS, group))
        for seed, chosen in rows:
            accuracies = [model.accuracy for zoo in chosen for model in zoo.models]
            network = chosen[0].network
            summary = [
                fmean(accuracies),
                min(accuracies),
                max(accuracies),
                fmean(zoo.seconds for zoo in chosen),
            ]
            lead = [dataset, architecture, network.family, network.width, seed, len(accuracies)]
            data.append(dict(zip(_COLUMNS, [*lead, *summary], strict=True)))
    for zoo in imported:
        breaks.add(len(data))
        data.append(_imported_row(zoo))
    columns = [Column(title, numeric=False) for title in ("data set", "architecture", "network")]
    columns += [Column("seed"), Column("models")]
    columns += [Column(title, group="own accuracy (%)") for title in ("mean", "min", "max")]
    columns += [Column("seconds per zoo")]
    cells = [
        [
            TableCell(row["dataset"]),
            TableCell(row["architecture"]),
            TableCell(row["family"] if row["width"] is None else f"{row['family']}, width {row['width']}"),
            TableCell(row["seed"]),
            TableCell(str(row["models"])),
            *(number(row[f"accuracy_{name}"], "{:.1f}") for name in ("mean", "min", "max")),
            number(row["seconds"], "{:.0f}"),
        ]
        for row in data
    ]
    return Table(
        stem="zoo",
        caption="The zoos: accuracy of each model on test images of its own classes",
        data=pd.DataFrame(data, columns=_COLUMNS),
        sections=[TableSection("", columns, cells, frozenset(breaks))],
        notes=["Accuracy of the weights that are stored and used, on images that neither trained nor chose anything."]
        + (["Of imported zoos it is what their owners say."] if imported else [])
        + ([] if data else ["No zoo was trained."]),
    )


def _imported_row(zoo: ImportedZooManifest) -> dict:
    """Its kinds of models in place of a network, and no seed."""
    kinds = Counter(model.kind for model in zoo.models)
    told = [model.accuracy for model in zoo.models if model.accuracy is not None]
    summary = [fmean(told), min(told), max(told)] if told else [None, None, None]
    network = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
    lead = [zoo.name, IMPORTED, network, None, "–", len(zoo.models)]
    return dict(zip(_COLUMNS, [*lead, *summary, zoo.seconds], strict=True))
