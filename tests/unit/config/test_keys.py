"""Every key at every depth: a slip in its name or a value of another type is an error that names it."""

from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from dfml.config.load import validate_config
from dfml.config.root import Config
from dfml.config.tree import ANY_NAME, Key, children, keys, locate, section_of
from support.configuration import problems

NAME = "mine"
# Of these the schema does not say what they take (tests/unit/config/test_variants.py and test_custom_networks.py).
OPEN = ("variants.<name>", "networks.<name>.options.<name>", "learner.options.<name>")
KEYS = [key for key in keys() if key.dotted not in OPEN]
NAMED = [key for key in KEYS if key.path[-1] != ANY_NAME]
VALUES = [key for key in KEYS if section_of(key.node) is None]
SECTIONS = [key for key in KEYS if section_of(key.node) is not None]


def concrete(path: Iterable[str]) -> tuple[str, ...]:
    return tuple(NAME if part == ANY_NAME else part for part in path)


def nested(path: Iterable[str], value: Any) -> dict[str, Any]:
    for part in reversed(concrete(path)):
        value = {part: value}
    return value


def is_certain(key: Key) -> bool:
    """Whether the key is there by default: not below a chosen name, nor in a section that may be null."""
    above = [locate(key.path[:length]) for length in range(1, len(key.path) + (key in SECTIONS))]
    return not any("anyOf" in node or ANY_NAME in children(node) for node in above)


def types(key: Key) -> set[str | None]:
    return {option.get("type") for option in key.node.get("anyOf", [key.node])}


def dotted(key: Key) -> str:
    return key.dotted


def test_the_walk_finds_keys_at_every_depth():
    assert len(KEYS) == len({key.path for key in KEYS})
    assert {("experiment",), ("datasets", ANY_NAME, "side"), ("free_heads", "bell", "order")} <= {
        key.path for key in KEYS
    }
    assert all("description" in key.node for key in VALUES), "a key without description"


@pytest.mark.parametrize("key", NAMED, ids=dotted)
def test_a_slip_in_a_key_names_it_and_what_was_meant(key):
    path = concrete(key.path)
    slip = (*path[:-1], path[-1] + path[-1][-1])
    expected = f"{'.'.join(slip)}: unknown key; did you mean `{'.'.join(path)}`?"
    assert [line for line in problems(nested(slip, 1)) if line.startswith(expected)]


@pytest.mark.parametrize("key", [key for key in VALUES if {"integer", "number"} & types(key)], ids=dotted)
@pytest.mark.parametrize("text", ["1e1", "1.5E1"])
def test_a_number_that_yaml_reads_as_text_comes_with_the_way_to_write_it(key, text):
    (line,) = [line for line in problems(nested(key.path, text)) if "YAML" in line]
    assert line.startswith(f"{'.'.join(concrete(key.path))}: expected ")
    shown = line.rsplit("write ", 1)[1].strip("`").split("` or `")
    assert {yaml.safe_load(number) for number in shown} == {float(text)}


@pytest.mark.parametrize("key", VALUES, ids=dotted)
def test_a_section_where_a_value_belongs_is_refused(key):
    line = next(line for line in problems(nested(key.path, {"a": 1})) if ".".join(concrete(key.path)) in line)
    assert line.startswith(f"{'.'.join(concrete(key.path))}: expected ")
    assert line.endswith("got a section of keys")


@pytest.mark.parametrize("key", SECTIONS, ids=dotted)
@pytest.mark.parametrize("value", [3, "text", [1]])
def test_a_value_where_a_section_belongs_is_refused(key, value):
    lines = problems(nested(key.path, value))
    assert [line for line in lines if line.startswith(f"{'.'.join(concrete(key.path))}: expected ")]


def test_every_slip_is_told_at_once():
    mapping: dict[str, Any] = {}
    for key in SECTIONS:
        section = mapping
        for part in concrete(key.path):
            section = section.setdefault(part, {})
        if list(children(key.node)) != [ANY_NAME]:
            section["qqq"] = 1
    mapping["qqq"] = 1
    sections = [key for key in SECTIONS if list(children(key.node)) != [ANY_NAME]]
    found = {line.split(":")[0] for line in problems(mapping) if "unknown key" in line}
    assert found == {"qqq", *(f"{'.'.join(concrete(key.path))}.qqq" for key in sections)}


@pytest.mark.parametrize("key", [key for key in SECTIONS if is_certain(key)], ids=dotted)
def test_an_empty_section_is_the_default_section(key):
    assert validate_config(nested(key.path, {})) == Config()


@pytest.mark.parametrize("key", [key for key in VALUES if is_certain(key)], ids=dotted)
def test_the_default_of_every_key_may_be_written_out(key):
    assert validate_config(nested(key.path, key.node["default"])) == Config()
