"""Methods and networks of the user's own: what can be said of their files, and of who uses them, without torch."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dfml
from dfml.artefacts.zoo import FAMILIES
from dfml.catalogue import METHODS
from dfml.errors import DataError
from dfml.jobs.code_digest import missing_imports
from dfml.methods.settings import missing_file
from dfml.networks.settings import ArchitectureSettings
from dfml.settings import Problem, unknown

if TYPE_CHECKING:
    from dfml.config.root import Experiment


def faulty_files(config: "Experiment") -> Iterator[Problem]:
    """Files that are not there, cannot be read or import what is nowhere; names that the package has already."""
    for name, file in config.custom_methods.items():
        yield from _file(f"custom_methods.{name}", name, file, "method", METHODS)
    for name, file in config.custom_networks.items():
        key = f"custom_networks.{name}"
        wrong = list(_file(key, name, file, "network family", FAMILIES))
        yield from wrong
        if not wrong and (lacking := _lacks(Path(file).expanduser(), {"Network", "Options"})):
            yield Problem(key, f"`{file}` has no {' and no '.join(f'`{name}`' for name in sorted(lacking))}")


def _file(key: str, name: str, file: str, kind: str, ours: Mapping[str, Any] | tuple[str, ...]) -> Iterator[Problem]:
    if name in ours:
        yield Problem(key, f"`{name}` is a {kind} of this package; choose another name")
    elif missing := missing_file(file):
        yield Problem(key, missing)
    else:
        try:
            missing = ", ".join(missing_imports(Path(file).expanduser(), Path(dfml.__file__).parent))
            if missing:
                message = f"`{file}` imports what is neither installed nor in its folder: {missing}"
                yield Problem(key, f"{message}; install it or put it there")
        except (SyntaxError, ValueError, OSError) as error:
            yield Problem(key, f"`{file}` is not a Python file that can be read: {error}")


def _lacks(file: Path, wanted: set[str]) -> set[str]:
    """Names that no statement of a file can bind."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                wanted = wanted - {name}
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound = {alias.asname or alias.name for alias in names}
                wanted = set() if "*" in bound else wanted - bound
    return wanted


def faulty_cards(config: "Experiment") -> Iterator[Problem]:
    """Zoos from elsewhere: cards that cannot be used, names that are taken, and access that no model gives."""
    usable = {}
    for name in config.zoos:
        if name in config.datasets:
            yield Problem(f"zoos.{name}", f"`{name}` is a data set too; choose another name", (f"datasets.{name}",))
        try:
            usable[name] = config.card(name)
        except (DataError, OSError, RuntimeError, ValueError) as error:
            yield Problem(f"zoos.{name}.card", str(error))
    for pool, chosen in config.pools.items():
        sealed = not chosen.datasets and all(name in usable and usable[name].answers_only for name in chosen.zoos)
        if sealed and chosen.access != "logits":
            message = "its models give their answers only; use `logits`"
            yield Problem(f"pools.{pool}.access", message, (f"pools.{pool}.zoos",))
        for name in chosen.zoos:
            if name not in config.zoos:
                remedy = unknown(name, config.zoos) if config.zoos else "give its card there"
                yield Problem(f"pools.{pool}.zoos", f"`{name}` is not under `zoos`; {remedy}", (f"zoos.{name}",))


def unknown_families(config: "Experiment") -> Iterator[Problem]:
    """Families that are neither the package's nor the user's, and options of one of the package's, which has none."""
    for key, network in _networks(config):
        if network.family not in (known := (*FAMILIES, *config.custom_networks)):
            message = f"`{network.family}` is no network family; {unknown(network.family, known)}"
            yield Problem(f"{key}.family", message, ("custom_networks",))
        elif network.family in FAMILIES and network.options:
            yield Problem(f"{key}.options", f"`{network.family}` has no options; they are of networks of your own")


def _networks(config: "Experiment") -> Iterator[tuple[str, ArchitectureSettings]]:
    """Every network of the configuration by its key."""
    yield from ((f"networks.{name}", network) for name, network in config.networks.items())
    yield "learner", config.learner
    for name in config.variants:
        if config.changes(name, of="learner"):
            yield f"variants.{name}.learner", config.learner_of(name)


def trials(config: "Experiment") -> dict[str, Any]:
    """What :mod:`dfml.networks.trial` is to try before the first job: networks of the user's own that something uses.

    Returns:
        Plain values: the ``files`` by family, and ``networks``: each with its ``key``, its settings (``network``), the
        ``ways``, the ``side`` it is made for (None for any) and the ``sides`` of images it is shown. Of one key and
        side there is one.
    """
    own = config.custom_networks
    found: dict[tuple[str, int | None], dict[str, Any]] = {}

    def add(key: str, network: ArchitectureSettings, side: int | None, sides: list[int]) -> None:
        if network.family in own:
            plain = network.model_dump(include=set(ArchitectureSettings.model_fields))
            trial = {"key": key, "network": plain, "ways": config.ways, "side": side, "sides": sides}
            found.setdefault((key, side), trial)

    for cell in config.learners():
        pool = config.pools[cell.pool]
        sides = sorted(set(config.facts(cell.pool).sides))
        for name in pool.networks if pool.datasets else ():
            for side in sorted({config.datasets[own].side for own in pool.datasets}):
                add(f"networks.{name}", config.networks[name], side, [side])
        changes = config.changes(cell.method, of="learner")
        key = f"variants.{cell.method}.learner" if changes else "learner"
        learner = config.learner_of(cell.method)
        sides = [learner.side] if learner.side else sides
        add(key, learner, sides[0] if len(sides) == 1 else None, sides)
    return {"files": own, "networks": list(found.values())}
