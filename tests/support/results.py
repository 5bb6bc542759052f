"""Records of a small made-up experiment like the default one, as evaluation leaves them."""

import math
from pathlib import Path

import numpy as np

from dfml.artefacts.accuracies import ACCURACIES, EpisodeAccuracies, accuracies_digest
from support.manifests import record, result, write

RULES = ("finetune", "centroid_euclidean", "centroid_cosine")
MODES = ("transductive", "support")

GRID = [
    ("single", "random", None),
    ("single", "average", None),
    ("single", "zoo_features", None),
    ("single", "zoo_ensemble", None),
    ("single", "free", None),
    ("single", "free_official", None),
    ("single", "free_heads", None),
    ("single", "supervised_maml", None),
    ("multi_architecture", "random", None),
    ("multi_architecture", "average", "averaging weights needs models of one architecture"),
    ("multi_architecture", "zoo_features", None),
    ("multi_architecture", "free", None),
    ("multi_architecture", "free_heads", None),
]
"""Rows of a grid like the default configuration's."""

LEVEL = {
    "random": 21.0,
    "best": 33.0,
    "average": 23.0,
    "zoo_features": 46.0,
    "zoo_ensemble": 52.0,
    "free": 34.0,
    "free_official": 22.5,
    "mixed_heads": 48.0,
    "free_heads": 49.0,
    "supervised_maml": 51.0,
}
LEARNED = ("free", "free_official", "mixed_heads", "free_heads", "supervised_maml")


ANSWERS = 1000
"""Queries of a made-up episode: accuracies of one decimal are exact."""


def write_record(folder: Path, *, right=(), **changes) -> Path:
    """Write a record where the workflow would, and the accuracies beside it.

    `right` has the right answers among ANSWERS of every episode, for each result; by default all episodes are alike.
    """
    content = record(**changes)
    cell = "{pool}/{method}/{shots}shot/seed{seed}".format(**content)
    path = folder / f"evaluation/{cell}/record.json"
    results = content["results"]
    right = right or [np.full(one["episodes"], round(10 * float(one["accuracy"]))) for one in results]
    keys = [(one["dataset"], one["rule"], one["batch_norm"]) for one in results]
    kept = EpisodeAccuracies(ANSWERS, {key: np.asarray(counts) for key, counts in zip(keys, right, strict=True)})
    if results:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept.save(path.with_name(ACCURACIES))
    digests = [accuracies_digest(kept.percent(key)) for key in keys]
    told = [one | {"accuracies_digest": digest} for one, digest in zip(results, digests, strict=True)]
    return write(folder, path.relative_to(folder).as_posix(), content | {"results": told})


def curve(method: str, seed: int, *, points: int = 6) -> list[dict]:
    """A rising learning curve under every rule."""
    offsets = {"finetune": 0.0, "centroid_euclidean": 3.0, "centroid_cosine": 7.0}
    return [
        {
            "iteration": 20 * step,
            "seconds": 1.0 + 12.0 * step,
            "accuracy": 20.0
            + (LEVEL[method] - 20.0) * (1 - math.exp(-step / 2))
            + offsets[rule] * min(step, 1)
            + 0.4 * seed,
            "ci95": 1.4,
            "rule": rule,
            "batch_norm": "transductive",
        }
        for step in range(points)
        for rule in RULES
    ]


def write_demo(folder: Path, *, seeds=(0, 1, 2), shots=(1,), grid=GRID) -> list[Path]:
    """Records for every cell of `grid` that runs; numbers differ by method, rule, mode and seed."""
    paths = []
    for pool, method, reason in grid:
        if reason is not None:
            continue
        rules = RULES[1:] if method.startswith("zoo_") else RULES
        for count in shots:
            for seed in seeds:
                results = [
                    result(
                        rule=rule,
                        batch_norm=mode,
                        accuracy=LEVEL[method]
                        + (12.0 if count > 1 else 0.0)
                        + 4.0 * RULES.index(rule)
                        - 3.0 * MODES.index(mode)
                        + (0.9, -0.4, 0.1)[seed % 3],
                        ci95=0.6 + 0.05 * seed,
                    )
                    for rule in rules
                    for mode in MODES
                ]
                learned = method in LEARNED
                paths.append(
                    write_record(
                        folder,
                        pool=pool,
                        method=method,
                        shots=count,
                        seed=seed,
                        results=results,
                        train_seconds=60.0 + LEVEL[method] if learned else 0.2,
                        teacher_passes=4000 if learned else 0,
                        train_episodes=9000 if learned else None,
                        bank_seconds=20.0 if learned else 0.0,
                        bank_passes=1500 if learned else 0,
                        inference_macs=110_000_000 if method == "zoo_ensemble" else 11_000_000,
                        curve=curve(method, seed) if learned else [],
                    )
                )
    return paths
