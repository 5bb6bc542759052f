"""The few numbers that runs are compared by: mean accuracies over seeds, nested by cell."""

from pathlib import Path
from typing import Any

from dfml.files.atomic import write_json
from dfml.records.collect import read_results_csv
from dfml.records.summary import average_over_seeds


def write_metrics(results: Path, output: Path) -> None:
    """Write the mean accuracy over seeds, in percent, of every row of ``results`` (results.csv) as JSON.

    Nested as pool, method, shots, data set, and the adaptation rule with its batch-norm mode; rounded to
    two decimals, so that comparisons of runs show what readers of the tables see.
    """
    metrics: dict[str, Any] = {}
    for row in average_over_seeds(read_results_csv(results)).itertuples():
        node = metrics
        for key in (row.pool, row.method, f"{row.shots}shot", row.dataset):
            node = node.setdefault(key, {})
        node[f"{row.rule}_{row.batch_norm}"] = round(row.accuracy, 2)
    write_json(output, metrics)
