"""What must hold between sections. Rules inside one section stand beside its keys."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from dfml.config.methods.free import FreeSettings
from dfml.config.methods.names import FUSIONS, SECTIONS, MethodName
from dfml.settings import Problem, unknown

if TYPE_CHECKING:
    from dfml.config.root import Config


class EmbeddedSize(NamedTuple):
    """Classes of one split of an embedded data set, and images of its smallest class."""

    classes: int
    images: int


_ICONS = {
    "meta_train": EmbeddedSize(64, 80),
    "meta_val": EmbeddedSize(16, 89),
    "meta_test": EmbeddedSize(20, 80),
}
EMBEDDED = {
    "icons_colour": _ICONS,
    "icons": _ICONS,
    "emoji": {
        "meta_train": EmbeddedSize(66, 21),
        "meta_val": EmbeddedSize(16, 27),
        "meta_test": EmbeddedSize(20, 21),
    },
    "glyphs": {
        "meta_train": EmbeddedSize(64, 120),
        "meta_val": EmbeddedSize(16, 120),
        "meta_test": EmbeddedSize(20, 120),
    },
}


def disagreements(config: "Config") -> Iterator[Problem]:
    """Everything that is wrong between sections whose own values are all right."""
    wrong_names = [*_names(config), *_custom_methods(config)]
    yield from wrong_names
    yield from _bank(config)
    yield from _dynamic_set(config)
    yield from _meta_generator(config)
    yield from _heads_of_several_sides(config)
    yield from _embedded_sizes(config)
    yield from _pool_sizes(config)
    if not wrong_names:
        yield from _unlabelled(config)
        yield from _probe_weights(config)
        yield from _something_runs(config)


def _names(config: "Config") -> Iterator[Problem]:
    for name, dataset in config.datasets.items():
        if dataset.source == "embedded" and name not in EMBEDDED:
            message = f"not an embedded data set; {unknown(name, EMBEDDED)}. Your own images need `source: folder`"
            yield Problem(f"datasets.{name}", message)
    for pool, chosen in config.pools.items():
        for name in chosen.datasets:
            if name not in config.datasets:
                known = list(dict.fromkeys([*config.datasets, *EMBEDDED]))
                remedy = f"add `{name}: {{}}`" if name in EMBEDDED else unknown(name, known)
                message = f"`{name}` is not under `datasets`; {remedy}"
                yield Problem(f"pools.{pool}.datasets", message, (f"datasets.{name}",))
        for name in chosen.networks:
            if name not in config.networks:
                message = f"`{name}` is not under `networks`; {unknown(name, config.networks)}"
                yield Problem(f"pools.{pool}.networks", message, (f"networks.{name}",))
        for shots in chosen.shots or ():
            if shots not in config.shots:
                message = f"`{shots}` is not in the top-level `shots`; add it there or remove it here"
                yield Problem(f"pools.{pool}.shots", message, ("shots",))
        for name in chosen.methods or ():
            known = (*get_args(MethodName), *config.custom_methods)
            if name not in known:
                message = f"unknown method `{name}`; {unknown(name, known)}"
                yield Problem(f"pools.{pool}.methods", message, ("custom_methods",))
            elif name not in config.all_methods:
                message = f"`{name}` is not in the top-level `methods`; add it there or remove it here"
                yield Problem(f"pools.{pool}.methods", message, ("methods",))


def _custom_methods(config: "Config") -> Iterator[Problem]:
    for name, file in config.custom_methods.items():
        key = f"custom_methods.{name}"
        if name in get_args(MethodName):
            yield Problem(key, f"`{name}` is a method of this package; choose another name")
        elif name.startswith("supervised_"):
            yield Problem(key, "names with `supervised_` are of methods that read real images; choose another name")
        elif missing := _missing(file):
            yield Problem(key, missing)
        else:
            try:
                ast.parse(Path(file).expanduser().read_bytes(), filename=file)
            except (SyntaxError, ValueError, OSError) as error:
                yield Problem(key, f"`{file}` is not a Python file that can be read: {error}")


def _missing(file: str) -> str:
    """What to say of a path where there is no file; nothing if there is one."""
    try:
        found = Path(file).expanduser().is_file()
    except (OSError, RuntimeError):  # too long; the home of a user who is not there
        found = False
    return "" if found else f"there is no file `{file}` (a path is taken from the folder that snakemake starts in)"


def _used_free(config: "Config") -> Iterator[tuple[str, FreeSettings]]:
    """Dotted key and settings of every FREE section that some pool uses."""
    used = {method for pool in config.pools for method in config.selected(pool)}
    sections = {
        "free": config.free,
        "free_official": config.free_official,
        "free_heads": config.free_heads.free,
    }
    for method, section in sections.items():
        if method in used and section is not None:
            yield ("free_heads.free" if method == "free_heads" else method), section


def _replayed(config: "Config") -> Iterator[tuple[str, int]]:
    """Dotted key of every section that replays episodes of a bank on some pool, and query images of an episode."""
    used = {method for pool in config.pools for method in config.selected(pool)}
    sections = dict(_used_free(config))
    for name in ("inversion_then_meta", "bidf_mkd", "bidf_mkd_black_box", "tgr"):
        if any(SECTIONS.get(method, method) == name for method in used):
            sections[name] = getattr(config, name)
    for key, section in sections.items():
        if getattr(section.replay, "max_outer", 1):
            yield key, section.replay.queries


def _bank(config: "Config") -> Iterator[Problem]:
    held, shots = config.inversion.images_per_class, max(config.shots)
    for key, queries in _replayed(config):
        if held < shots + queries:
            message = (
                f"{held} recovered images per class cannot give an episode of {shots} shots and {queries} "
                f"queries (`{key}.replay.queries`); use at least {shots + queries}, or fewer queries"
            )
            yield Problem("inversion.images_per_class", message, ("shots", f"{key}.replay", "methods", "pools"))


def _purer_runs(config: "Config", pool: str) -> bool:
    return any(SECTIONS.get(method) == "purer" for method in config.selected(pool))


def _dynamic_set(config: "Config") -> Iterator[Problem]:
    held, queries, shots = config.purer.images_per_class, config.purer.queries, max(config.shots)
    if held is not None and held < shots + queries and any(_purer_runs(config, pool) for pool in config.pools):
        message = (
            f"{held} images per class cannot give an episode of {shots} shots and {queries} queries "
            f"(`purer.queries`); use at least {shots + queries}, fewer queries or null"
        )
        yield Problem("purer.images_per_class", message, ("shots", "purer.queries", "methods", "pools"))


def _meta_generator(config: "Config") -> Iterator[Problem]:
    if config.inversion.inverter == "five":
        return
    for key, section in _used_free(config):
        if section.online and section.generator == "inversion":
            message = (
                f"`inversion.inverter: {config.inversion.inverter}` leaves no meta-generator to continue; "
                f"use `online: false`, `generator: fresh` or `inverter: five`"
            )
            yield Problem(f"{key}.online", message, ("inversion.inverter", f"{key}.generator", "methods", "pools"))


def _heads_of_several_sides(config: "Config") -> Iterator[Problem]:
    """Models of several image sides have heads of several sizes, which cannot be kept."""
    for pool, chosen in config.pools.items():
        sides = {config.datasets[name].side for name in chosen.datasets if name in config.datasets}
        used = {SECTIONS.get(method, method) for method in config.selected(pool)}
        if config.purer.start != "average":
            used.discard("purer")
        for method in FUSIONS | {"best", "purer"} if len(sides) > 1 else ():
            if method in used and getattr(config, method).head not in ("zero", "fresh"):
                listed = " and ".join(str(side) for side in sorted(sides))
                message = f"pool `{pool}` unites images of side {listed}, whose heads differ; use `zero` or `fresh`"
                yield Problem(f"{method}.head", message, ("pools", "datasets"))


def _unlabelled(config: "Config") -> Iterator[Problem]:
    name = config.unlabelled_heads.dataset
    if any(cell.method == "unlabelled_heads" for cell in config.cells()) and name not in config.datasets:
        remedy = f"add `{name}: {{}}` there" if name in EMBEDDED else unknown(name, config.datasets)
        yield Problem("unlabelled_heads.dataset", f"`{name}` is not under `datasets`; {remedy}", ("datasets",))


def _probe_weights(config: "Config") -> Iterator[Problem]:
    file = config.tgr.probe_weights
    used = config.tgr.probe == "imagenet_r34" and any(cell.method == "tgr" for cell in config.cells())
    if used and (missing := _missing(file)):
        yield Problem("tgr.probe_weights", missing)


def _embedded_sizes(config: "Config") -> Iterator[Problem]:
    """More ways than classes, and fewer images than an episode needs; a folder is counted when it is read."""
    shots, evaluation = max(config.shots), config.evaluation
    episodes = {"meta_test": ("evaluation.queries", evaluation.queries)}
    if evaluation.validation_episodes:
        episodes["meta_val"] = ("evaluation.queries", evaluation.queries)
    running = [pool for pool in config.pools if config.selected(pool)]
    chosen = {method for pool in running for method in config.selected(pool)}
    supervised = [method for method in config.methods if method in chosen and method.startswith("supervised_")]
    if supervised:
        queries, method = max((getattr(config, m).queries, m) for m in supervised)
        episodes["meta_train"] = (f"{method}.queries", queries)
    used = {name for pool in running for name in config.pools[pool].datasets}
    for name in sorted(used & set(config.datasets) & set(EMBEDDED)):
        if config.datasets[name].source != "embedded":
            continue
        for split in ("meta_train", "meta_val", "meta_test"):
            size = EMBEDDED[name][split]
            if (split in episodes or split == "meta_train") and config.ways > size.classes:
                message = f"{config.ways} ways, but `{name}` has {size.classes} {split} classes; use fewer"
                yield Problem("ways", message, ("pools", "evaluation.validation_episodes"))
            key, queries = episodes.get(split, ("", 0))
            if key and shots + queries > size.images:
                message = (
                    f"{shots} shots and {queries} queries need {shots + queries} images per class, but the "
                    f"smallest {split} class of `{name}` has {size.images}; use fewer queries or shots"
                )
                yield Problem(key, message, ("shots", "pools", "methods"))


def _pool_sizes(config: "Config") -> Iterator[Problem]:
    """Models that are asked for at once, against the models there are."""
    inversion = config.inversion
    for pool, chosen in config.pools.items():
        if not (set(chosen.networks) <= set(config.networks) and set(chosen.datasets) <= set(config.datasets)):
            continue
        wanted: dict[str, int | None] = {}
        selected = config.selected(pool)
        free = {key: section for key, section in _used_free(config) if key.split(".")[0] in selected}
        if free:
            wanted["inversion.speed.models"] = inversion.speed.models
            wanted["inversion.per_model.models"] = inversion.per_model.models
            if inversion.five.sample == "without":
                wanted["inversion.five.models_per_iteration"] = inversion.five.models_per_iteration
        for key, section in free.items():
            if section.five and section.five.sample == "without":
                wanted[f"{key}.five.models_per_iteration"] = section.five.models_per_iteration
        if "zoo_ensemble" in selected:
            wanted["zoo_ensemble.models"] = config.zoo_ensemble.models
        if _purer_runs(config, pool):
            wanted["purer.models_per_iteration"] = config.purer.models_per_iteration
        held = config.pool_models(pool)
        for key, count in wanted.items():
            if count is not None and count > held:
                remedy = "use fewer, or raise `zoo.models`"
                message = f"{count} different models, but pool `{pool}` has {held}; {remedy}"
                yield Problem(key, message, ("zoo.models", "networks", "pools", "methods"))


def _something_runs(config: "Config") -> Iterator[Problem]:
    if not config.cells():
        reasons = [
            f"{method} on {pool}: {config.inapplicable(pool, method)}"
            for pool in config.pools
            for method in config.selected(pool)
        ] or ["no pool chooses any"]
        yield Problem("methods", f"no method can run on any pool ({'; '.join(reasons)})", ("pools",))
