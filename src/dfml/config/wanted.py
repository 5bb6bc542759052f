"""What an experiment wants of its data sets' images: splits, and images for the episodes that are drawn of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfml.artefacts.images import SPLITS, Drawn
from dfml.catalogue import entry, section_key

if TYPE_CHECKING:
    from dfml.config.root import Experiment


def own_key(method: str) -> str:
    """Where a row's own settings are changed."""
    return f"variants.{method}" if "-" in method else section_key(method)


def evaluation_shots(config: "Experiment", dataset: str) -> int:
    """The greatest number of shots of episodes in which learners are measured on a data set; 1 without any."""
    pools = [pool for pool, chosen in config.pools.items() if dataset in chosen.measured]
    return config.most_shots((pool, method) for pool in pools for method in config.selected(pool))


def real_episodes(config: "Experiment", dataset: str) -> Iterator[Drawn]:
    """Episodes that methods draw of a data set's real images, as the supervised references do."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for pool, chosen in config.pools.items():
        for method in config.selected(pool):
            if dataset in chosen.measured and entry(method).real_images == "own":
                rows.setdefault(f"{own_key(method)}.queries", []).append((pool, method))
    for key, users in rows.items():
        yield Drawn("meta_train", config.most_shots(users), config.options(users[0][1])["queries"], key)


def needed_splits(config: "Experiment", dataset: str) -> frozenset[str]:
    """The splits that have to be enough: all of a zoo's data set, else what some job reads but for the curve."""
    needed: set[str] = set()
    for pool, chosen in config.pools.items():
        methods = config.selected(pool)
        asked = (config.options(method)["dataset"] for method in methods if entry(method).other_domain)
        if methods and dataset in chosen.datasets:
            needed.update(SPLITS)
        if dataset in asked:
            needed.add("meta_train")
        if methods and dataset in chosen.measured:
            needed.add(config.evaluation.split)
            if config.evaluation.select == "val_best":
                needed.add("meta_val")
    return frozenset(needed | {drawn.split for drawn in real_episodes(config, dataset)})
