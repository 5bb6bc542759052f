"""A grid of settings as experiments: from `KEY=VALUE,VALUE` to what each experiment changes, and its name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from dfml.config.load import validate_config
from dfml.errors import ConfigError
from dfml.files.reading import digest_json
from dfml.files.yaml_files import read_yaml
from dfml.settings import overlay

# Characters of a name before a digest says the rest: file names have at most 255 bytes, and stand in paths.
_LONGEST = 100


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep: its name, and the keys that it lays over the configuration files."""

    name: str
    changes: Mapping[str, Any]


def plan_sweep(files: Sequence[Path | str], settings: Sequence[str]) -> list[Point]:
    """Every combination of the settings' values, each checked as a whole configuration.

    An experiment is named by the one of the files and by every key with its value, so that one of other keys or values
    has another name, and a value that is added later leaves the names of the others.

    Args:
        files: Configuration files, later ones over earlier ones.
        settings: Each a dotted key, `=`, and YAML values with commas between them.

    Raises:
        ConfigError: a setting cannot be read, a file is wrong, or a combination is; all such are told.
    """
    base: dict[str, Any] = {}
    for path in files:
        base = overlay(base, read_yaml(Path(path)))
    experiment = validate_config(base, " + ".join(map(str, files))).experiment
    grid = _read(settings)
    points = []
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        words = [f"{_word(key.replace('.', '_'))}_{_word(value)}" for key, value in chosen.items()]
        points.append(("_".join([experiment, *words]), chosen))
    twice = {name for name, count in Counter(name for name, _ in points).items() if count > 1}
    named = [
        (f"{name[:_LONGEST]}_{digest_json(chosen)[:8]}" if name in twice or len(name) > _LONGEST else name, chosen)
        for name, chosen in points
    ]
    return _checked(base, [Point(name, {**_nested(chosen), "experiment": name}) for name, chosen in named])


def _read(settings: Sequence[str]) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            values = yaml.safe_load(f"[{text}]") if key and equals else None
        except yaml.YAMLError:
            values = None
        if not values or not all(key.split(".")):
            raise ConfigError(f"`{setting}`: expected a dotted key and values, such as zoo.models=4,8 or seeds=[0],[1]")
        if key == "experiment":
            raise ConfigError("`experiment` is what a sweep names by itself; leave it out")
        clash = next((one for one in grid if f"{one}.".startswith(f"{key}.") or f"{key}.".startswith(f"{one}.")), None)
        if clash:
            raise ConfigError(f"`{key}` and `{clash}` set the same; give one of them")
        repeated = [value for position, value in enumerate(values) if value in values[:position]]
        if repeated:
            raise ConfigError(f"`{setting}`: {repeated[0]} is given twice; remove the repetition")
        grid[key] = values
    if not grid:
        raise ConfigError("a sweep needs settings, such as zoo.models=4,8")
    return grid


def _word(value: Any) -> str:
    """What of a key or value can stand in the name of an experiment: `0p1` for 0.1, `m1` for −1."""
    text = str(value).lower().replace("-", "m").replace(".", "p")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _nested(chosen: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in chosen.items():
        below = value
        for part in reversed(key.split(".")):
            below = {part: below}
        changes = overlay(changes, below)
    return changes


def _checked(base: Mapping[str, Any], points: list[Point]) -> list[Point]:
    wrong = []
    for point in points:
        try:
            validate_config(overlay(base, point.changes), point.name)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return points
