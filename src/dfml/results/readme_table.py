"""The short table of README.md: one pool, two rules, and the baselines that learn nothing first."""

from __future__ import annotations

from pathlib import Path

from tabulate import tabulate

from dfml.results.collect import read_results_csv
from dfml.results.labels import BATCH_NORMS, batch_norm_label, in_order, method_label, rule_label
from dfml.results.summary import average_over_seeds, datasets_of, with_domain_means

GROUPS = {
    "nothing is learned": ("random", "best", "zoo_ensemble"),
    "learned from the zoo alone": ("free", "mixed_heads", "free_heads"),
    "learned from the real images": ("supervised_maml",),
}
"""Which methods have a row, by where what they know comes from."""

RULES = ("finetune", "centroid_cosine")


def readme_table(results: Path) -> str:
    """The pool of most methods in ``results`` (results.csv) at the fewest shots, as Markdown, without absent methods.

    Of the batch-norm modes it is the first recorded one, transductive if there.

    Raises:
        FileFormatError: as :func:`dfml.results.collect.read_results_csv`.
    """
    frame = with_domain_means(read_results_csv(results))
    pool = frame.groupby("pool")["method"].nunique().idxmax()
    dataset = datasets_of(frame, pool)[-1]
    mode = in_order(frame["batch_norm"], BATCH_NORMS)[0]
    place = frame[(frame["pool"] == pool) & (frame["dataset"] == dataset) & (frame["batch_norm"] == mode)]
    means = average_over_seeds(place[place["shots"] == place["shots"].min()])
    cells = {(row.method, row.rule): f"{row.accuracy:.2f} ± {row.ci95:.2f}" for row in means.itertuples()}
    body = [
        [group, method_label(method), *(cells.get((method, rule), "–") for rule in RULES)]
        for group, methods in GROUPS.items()
        for method in methods
        if any((method, rule) in cells for rule in RULES)
    ]
    one = means.iloc[0]
    caption = (
        f"*{one['ways']}-way {one['shots']}-shot accuracy in percent on `{dataset}`: mean over {means['seeds'].min()} "
        f"seeds ± 95 % interval over episodes. Batch norm: {batch_norm_label(mode)}.*"
    )
    headers = ["", "method", *(rule_label(rule) for rule in RULES)]
    columns = tabulate(body, headers, tablefmt="pipe", colalign=["left", "left", *["right"] * len(RULES)])
    return f"{caption}\n\n{columns}"
