"""What must hold between sections, whichever methods there are.

Rules inside one section stand beside its keys, rules that concern one method in its own settings.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dfml.artefacts.images import SPLITS, Drawn
from dfml.catalogue import METHODS, entry, section_key
from dfml.config.own_files import faulty_cards, faulty_files, unknown_families
from dfml.config.wanted import evaluation_shots, needed_splits, own_key, real_episodes
from dfml.data.known import KNOWN
from dfml.data.settings import EMBEDDED, EMBEDDED_FILES
from dfml.inversion.settings import InversionSettings
from dfml.metalearning.settings import BankReplaySettings
from dfml.methods.settings import MethodSettings, Surroundings, too_few_models
from dfml.settings import Problem, Section, unknown

if TYPE_CHECKING:
    from dfml.config.root import Experiment


def faulty_variants(config: "Experiment") -> Iterator[tuple[str, str, list[Any]]]:
    """Variants of methods whose sections refuse the changed values: name, section, pydantic's details."""
    for name in config.variants:
        parts = (
            (section_key(name), config.given_section),
            ("inversion", config.inversion_of),
            ("learner", config.learner_of),
        )
        for section, build in parts:
            try:
                build(name)
            except ValidationError as error:
                yield name, section, error.errors(include_url=False)


def disagreements(config: "Experiment") -> Iterator[Problem]:
    """Everything that is wrong between sections whose own values are all right."""
    wrong_names = [
        *_names(config),
        *faulty_cards(config),
        *faulty_files(config),
        *unknown_families(config),
        *_variants(config),
    ]
    yield from wrong_names
    yield from _choice(config)
    yield from _replay_fits_the_bank(config)
    yield from _methods(config)
    yield from _known_sizes(config)
    yield from _paths(config)
    if not wrong_names:
        yield from _shares(config)
        yield from _unlabelled(config)
        yield from _banks(config)
        yield from _something_runs(config)


def _choice(config: "Experiment") -> Iterator[Problem]:
    if (config.evaluation.split, config.evaluation.select) == ("meta_val", "val_best"):
        message = "`val_best` would choose on the very classes that `split: meta_val` reports (F01); use `last`"
        yield Problem("evaluation.select", message, ("evaluation.split",))


def _names(config: "Experiment") -> Iterator[Problem]:
    for name, dataset in config.datasets.items():
        if dataset.source == "embedded" and name not in EMBEDDED:
            remedy = (
                f"a copy of that public data set needs `source: {name}` and `path`"
                if name in KNOWN
                else f"{unknown(name, EMBEDDED)}. Your own images need `source: folder`"
            )
            message = f"not an embedded data set; {remedy}"
            yield Problem(f"datasets.{name}", message)
    for pool, chosen in config.pools.items():
        for key, names in (("datasets", chosen.datasets), ("evaluate", chosen.evaluate or ())):
            for name in names:
                if name not in config.datasets:
                    known = list(dict.fromkeys([*config.datasets, *EMBEDDED]))
                    remedy = f"add `{name}: {{}}`" if name in EMBEDDED else unknown(name, known)
                    message = f"`{name}` is not under `datasets`; {remedy}"
                    yield Problem(f"pools.{pool}.{key}", message, (f"datasets.{name}",))
        for name in chosen.networks:
            if name not in config.networks:
                message = f"`{name}` is not under `networks`; {unknown(name, config.networks)}"
                yield Problem(f"pools.{pool}.networks", message, (f"networks.{name}",))
        limits = {"shots": chosen.shots or (), **{f"shots_of.{name}": own for name, own in chosen.shots_of.items()}}
        for key, numbers in limits.items():
            for shots in set(numbers).difference(config.shots):
                message = f"`{shots}` is not in the top-level `shots`; add it there or remove it here"
                yield Problem(f"pools.{pool}.{key}", message, ("shots",))
        every = (*METHODS, *config.variants, *config.custom_methods)
        for key, listed in (("methods", chosen.methods or ()), ("shots_of", tuple(chosen.shots_of))):
            for name in listed:
                if name not in every:
                    message = f"unknown method `{name}`; {unknown(name, every)}"
                    yield Problem(f"pools.{pool}.{key}", message, ("custom_methods", "variants"))
                elif key == "methods" and name not in config.all_methods:
                    message = f"`{name}` is not in the top-level `methods`; add it there or remove it here"
                    yield Problem(f"pools.{pool}.methods", message, ("methods",))


def _paths(config: "Experiment") -> Iterator[Problem]:
    """Splits that are not there, and paths that lead nowhere on any machine; images are looked for when listed."""
    used = {name for pool in config.pools if config.selected(pool) for name in config.pools[pool].read}
    for name in sorted(used & set(config.datasets)):
        for key, kind in (("path", "directory"), ("split", "file")):
            path, why = getattr(config.datasets[name], key), ""
            try:
                if path and not Path(path).expanduser().exists() and key == "split":
                    why = "there is none"
            except (OSError, RuntimeError, ValueError) as error:
                why = "there is no such home" if isinstance(error, RuntimeError) else str(error)
            if why:
                message = f"`{path}` is not a {kind} ({why}); give its whole path"
                yield Problem(f"datasets.{name}.{key}", message, ("pools",))


def _variants(config: "Experiment") -> Iterator[Problem]:
    """Variants of no method, or of one without settings; namesakes whose banks would be two under one name."""
    banks: dict[str, tuple[str, InversionSettings]] = {}
    for name, values in config.variants.items():
        method, _, variant = name.partition("-")
        if method not in METHODS:
            yield Problem(f"variants.{name}", f"`{method}` is no method; {unknown(method, METHODS)}")
        elif config.changes(name) and not section_key(name):
            yield Problem(f"variants.{name}", f"`{method}` has no settings that could be changed")
        else:
            yield from _variant(config, name)
            if values.get("inversion") and entry(name).needs_inversion(config.options(name)):
                bank, settings = config.bank_of(name), config.inversion_of(name)
                other, theirs = banks.setdefault(bank, (name, settings))
                if settings != theirs:
                    message = f"another inversion than that of `{other}`, with which it shares the bank `{bank}`"
                    yield Problem(f"variants.{name}.inversion", f"{message}; call one of them other than `{variant}`")


def _variant(config: "Experiment", name: str) -> Iterator[Problem]:
    """What would not be what it seems: a profile that is left, a learner begun with that is of another kind."""
    left = getattr(getattr(config, section_key(name), None), "profile", None)
    if left == "official" != config.changes(name).get("profile", "official"):
        message = "the method's section starts from `official`, which a variant cannot undo; turn the two round"
        yield Problem(f"variants.{name}.profile", message)
    if base := config.base_of(name):
        wanted = base if "-" in base else f"{base}-{name.partition('-')[2]}"
        for what, of in (("learner", config.learner_of), ("inversion", config.inversion_of)):
            if of(base) != of(name):
                message = f"it begins with the learner of `{base}`, whose `{what}` is another"
                remedy = f"give `variants.{wanted}` the same `{what}`"
                yield Problem(f"variants.{name}.{what}", f"{message}; {remedy}", (f"variants.{wanted}",))


def _used(config: "Experiment") -> Iterator[tuple[str, MethodSettings, list[tuple[str, str]]]]:
    """Key and settings of every section that is used, with the (pool, method) that use it."""
    users: dict[str, list[tuple[str, str]]] = {}
    for pool in config.pools:
        for method in config.selected(pool):
            users.setdefault(own_key(method), []).append((pool, method))
    for key, rows in users.items():
        if (section := config.given_section(rows[0][1])) is not None:
            yield key, section, rows


def _within(section: Section, key: str) -> Iterator[tuple[str, Section]]:
    """A section and those in it, by their dotted keys."""
    yield key, section
    for name in type(section).model_fields:
        if isinstance(below := getattr(section, name), Section):
            yield from _within(below, f"{key}.{name}")


def _replay_fits_the_bank(config: "Experiment") -> Iterator[Problem]:
    for whole, section, rows in _used(config):
        method, shots = rows[0][1], config.most_shots(rows)
        held = config.inversion_of(method).images_per_class
        for key, replay in _within(section, whole):
            if isinstance(replay, BankReplaySettings) and replay.replays and held < shots + replay.queries:
                message = (
                    f"{held} recovered images per class cannot give an episode of {shots} shots and {replay.queries} "
                    f"queries (`{key}.queries`); use at least {shots + replay.queries}, or fewer queries"
                )
                where = _inversion_key(config, method, "inversion.images_per_class")
                yield Problem(where, message, ("shots", key, "methods", "pools"))


def _inversion_key(config: "Experiment", method: str, key: str) -> str:
    """Where a row's value of a key of `inversion` is given: by the variant, if it changes that part, or for all."""
    _, part, *_ = key.split(".")
    return f"variants.{method}.{key}" if part in config.changes(method, of="inversion") else key


def _methods(config: "Experiment") -> Iterator[Problem]:
    """What every used section says of its surroundings."""
    for key, section, rows in _used(config):
        sound = [
            (pool, method)
            for pool, method in rows
            if set(config.pools[pool].networks) <= set(config.networks)
            and set(config.pools[pool].read) <= set(config.datasets)
            and not any(faulty_cards(config))
            and not (config.pools[pool].zoos and entry(method).imported == "none")
        ]
        pools = {pool: config.facts(pool, method) for pool, method in sound}
        runs = any(config.inapplicable(pool, method) is None for pool, method in sound)
        around = Surroundings(config.most_shots(rows), config.inversion_of(rows[0][1]), tuple(pools.values()), runs)
        for problem in section.problems(key, around):
            shared = problem.key.startswith("inversion.")
            yield replace(problem, key=_inversion_key(config, rows[0][1], problem.key)) if shared else problem


def _shares(config: "Experiment") -> Iterator[Problem]:
    """Splits without a share of the classes that some job reads."""
    for name, dataset in config.datasets.items():
        needed = needed_splits(config, name) if dataset.source == "folder" and dataset.split is None else ()
        for split, share in zip(SPLITS, dataset.fractions, strict=True):
            if share == 0 and split in needed:
                message = f"gives no class to {split}, which a zoo, a method or `evaluation` needs; give it a share"
                yield Problem(f"datasets.{name}.fractions", message, ("pools", "methods", "evaluation"))


def _unlabelled(config: "Experiment") -> Iterator[Problem]:
    """Data sets that a method names itself."""
    running = {cell.method for cell in config.cells()}
    for method in sorted(method for method in running if entry(method).other_domain):
        name: Any = config.options(method)["dataset"]
        if name not in config.datasets:
            remedy = f"add `{name}: {{}}` there" if name in EMBEDDED else unknown(name, config.datasets)
            yield Problem(f"{own_key(method)}.dataset", f"`{name}` is not under `datasets`; {remedy}", ("datasets",))
            continue
        asked = _images_of(config, name)
        for pool in dict.fromkeys(cell.pool for cell in config.cells() if cell.method == method):
            if same := [own for own in config.pools[pool].datasets if _images_of(config, own) == asked]:
                message = f"`{name}` is made of the images of `{same[0]}` in pool `{pool}`; name another data set"
                yield Problem(f"{own_key(method)}.dataset", message, ("datasets", "pools"))


def _banks(config: "Experiment") -> Iterator[Problem]:
    """Banks of more models than their pool has, and one that would begin anew after its end."""
    starting = [c for c in config.learners() if entry(c.method).needs_inversion(config.options(c.method))]
    for (pool, bank), method in {(c.pool, config.bank_of(c.method)): c.method for c in reversed(starting)}.items():
        inverter, inversion = bank.partition("-")[0], config.inversion_of(method)
        part = "per_model" if inverter in ("gen_ce", "gen_bn") else inverter
        key = _inversion_key(config, method, f"inversion.{part}.models")
        yield from too_few_models(config.facts(pool), {key: getattr(getattr(inversion, part), "models", None)})
        fast = inversion.fast
        if inverter == "fast" and fast.restart_at is not None and fast.restart_at >= fast.iterations:
            key = _inversion_key(config, method, "inversion.fast.restart_at")
            message = f"the run ends after {fast.iterations} iterations, before the restart; lower it, or use null"
            yield Problem(key, message, ("inversion.fast.iterations",))


def _images_of(config: "Experiment", dataset: str) -> str:
    """Where the images of a data set come from, which may be where those of another do."""
    own = config.datasets[dataset]
    return EMBEDDED_FILES[dataset] if own.path is None else os.path.realpath(os.path.expanduser(own.path))


def _known_sizes(config: "Experiment") -> Iterator[Problem]:
    """More ways than classes, and fewer images than an episode needs; a folder is counted when it is read.

    Every split that is needed is held to the ways and to the episodes of evaluation, as by the job that makes it.
    """
    running = [pool for pool in config.pools if config.selected(pool)]
    used = {name for pool in running for name in config.pools[pool].read}
    for name in sorted(used & set(config.datasets)):
        known, needed = config.datasets[name].sizes(name) or {}, needed_splits(config, name)
        sizes = {split: size for split, size in known.items() if split in needed}
        for split, size in sizes.items():
            if config.ways > size.classes:
                message = f"{config.ways} ways, but `{name}` has {size.classes} {split} classes; use fewer"
                yield Problem("ways", message, ("pools",))
        shots = evaluation_shots(config, name)
        every = [Drawn(split, shots, config.evaluation.queries, "evaluation.queries") for split in sizes]
        for drawn in [*every, *real_episodes(config, name)] if sizes else []:
            size, images = sizes[drawn.split], drawn.shots + drawn.queries
            if images > size.images:
                message = (
                    f"{drawn.shots} shots and {drawn.queries} queries need {images} images per class, but the "
                    f"smallest {drawn.split} class of `{name}` has {size.images}; use fewer queries or shots"
                )
                yield Problem(drawn.key, message, ("shots", "pools", "methods"))


def _something_runs(config: "Experiment") -> Iterator[Problem]:
    if not config.cells():
        reasons = [
            f"{method} on {pool}: {config.inapplicable(pool, method)}"
            for pool in config.pools
            for method in config.selected(pool)
        ] or ["no pool chooses any"]
        yield Problem("methods", f"no method can run on any pool ({'; '.join(reasons)})", ("pools",))
