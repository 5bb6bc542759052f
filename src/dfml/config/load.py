"""From files or Snakemake's mapping to a checked configuration; everything that is wrong is said at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dfml.config.explain import Location, Violation, violations, within_variants
from dfml.config.root import Config
from dfml.errors import ConfigError
from dfml.files.yaml_files import read_yaml
from dfml.settings import overlay

# A refused text is read as YAML again only up to this many characters: no number, truth value or null is longer.
_LONGEST_VALUE = 40


def load_config(paths: Sequence[Path | str]) -> Config:
    """Read YAML files, later ones over earlier ones as Snakemake's `--configfile` does, and check the result.

    Sections merge key by key at every depth; any other value, lists included, is replaced.

    Raises:
        ConfigError: a file cannot be read, or the values are wrong.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = overlay(merged, read_yaml(Path(path)))
    return validate_config(merged, " + ".join(str(path) for path in paths) or "config")


def check_files(paths: Iterable[Path | str]) -> None:
    """Read files that Snakemake reads as well, for what it passes over in silence, such as keys given twice.

    Paths below the working directory are named relative to it. Pipes are left out, which can be read only once.

    Raises:
        ConfigError: the problems of all files, each with its line.
    """
    here = Path.cwd()
    # As a user gives them, and each once.
    shown = dict.fromkeys(path.relative_to(here) if path.is_relative_to(here) else path for path in map(Path, paths))
    wrong = []
    for path in shown:
        if not (path.is_fifo() or path.is_char_device() or path.is_socket()):
            try:
                read_yaml(path)
            except ConfigError as error:
                wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))


def validate_config(mapping: Mapping[str, Any], where: str = "config") -> Config:
    """Check a whole configuration; keys that are not given have their defaults.

    Text that YAML reads as a number, a truth value or null counts as that where text is not wanted: Snakemake
    hands over what is nested in `--config key={...}` as text.

    Args:
        mapping: Nested mapping with the keys of :class:`Config`; left as it is.
        where: What the message calls the source, such as the files.

    Raises:
        ConfigError: lists every problem, one line each: dotted key, what is wrong, the remedy.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected keys at the top level, got `{mapping!r}`")
    values = _plain(mapping)
    found: list[Violation] = []
    unsound: list[Location] = []
    while True:
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            break
        if _reread(values, [*details, *within_variants(details)]):
            continue
        # Values are compared only when each is right by itself: note what is wrong, take it out, look again.
        new = list(violations(details))
        seen = [one for one in new if not _overlap(one.places, unsound)]
        removed = [place for one in new if (place := _remove(values, one.location))]
        unsound += removed + [place for one in seen for place in one.places]
        found += seen
        if not removed:
            break
    if found:
        lines = sorted({str(one) for one in found})
        count = f"{len(lines)} problems" if len(lines) > 1 else "1 problem"
        raise ConfigError("\n".join([f"{where}: {count}", *(f"  {line}" for line in lines)]))
    return config


def _plain(value: Any) -> Any:
    """A copy made of plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _reread(values: dict[str, Any], details: list[Any]) -> bool:
    """Replace refused texts by what YAML makes of them; whether any was replaced."""
    changed = False
    for detail in details:
        text, location = detail["input"], detail["loc"]
        wants_text = detail["type"].startswith(("string", "literal", "extra", "value"))
        if wants_text or not isinstance(text, str) or not text.strip() or location[-1] == "[key]":
            continue
        if len(text) > _LONGEST_VALUE:
            continue
        try:
            value = yaml.safe_load(text)
        except Exception:  # besides YAMLError: the reader trusts that a text is what it looks like, such as a date
            continue
        if value is None or isinstance(value, bool | int | float):
            container: Any = values
            for part in location[:-1]:
                container = container[part]
            container[location[-1]] = value
            changed = True
    return changed


def _remove(values: dict[str, Any], location: Location) -> Location:
    """Take out the value at a place, or else the nearest one around it; where that was, () if nowhere."""
    holders: list[dict[Any, Any]] = [values]
    for part in location[:-1]:
        below = holders[-1].get(part)
        if not isinstance(below, dict):
            break
        holders.append(below)
    for depth in range(len(holders), 0, -1):
        if location[depth - 1 : depth] and location[depth - 1] in holders[depth - 1]:
            del holders[depth - 1][location[depth - 1]]
            return location[:depth]
    return ()


def _overlap(places: Iterable[Location], others: Collection[Location]) -> bool:
    """Whether one of the places is, holds or is held by one of the others."""
    return any(place[: len(other)] == other[: len(place)] for place in places for other in others)
