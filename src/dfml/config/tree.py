"""The configuration as one tree: a JSON schema with every section written out where it stands.

Error messages, the schema file and the reference are all made from it, so none of them keeps a list of keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dfml.config.root import Config

ANY_NAME = "<name>"


@dataclass(frozen=True)
class Key:
    """One key; ``path`` holds `<name>` where the user chooses a name, ``node`` is its part of the schema."""

    path: tuple[str, ...]
    node: dict[str, Any]

    @property
    def dotted(self) -> str:
        """The key as messages and the reference write it."""
        return ".".join(self.path)


@cache
def tree() -> dict[str, Any]:
    """JSON schema of :class:`Config` without references, with the default that holds at every single key."""
    schema = Config.model_json_schema()
    definitions = schema.pop("$defs", {})
    return _set_defaults(_expand(schema, definitions), Config().model_dump(mode="json"))


def keys(node: dict[str, Any] | None = None, above: tuple[str, ...] = ()) -> Iterator[Key]:
    """Every key in order, sections before what is in them."""
    for name, child in children(tree() if node is None else node).items():
        path = (*above, name)
        yield Key(path, child)
        yield from keys(child, path)


def children(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys of a section, `<name>` for sections by name, and nothing for a value."""
    section = section_of(node)
    if section is None:
        return {}
    named = [(ANY_NAME, child) for child in section.get("patternProperties", {}).values()]
    return {**section.get("properties", {}), **dict(named)}


def section_of(node: dict[str, Any]) -> dict[str, Any] | None:
    """The part of a node that has keys, also if null is allowed instead; None for a value."""
    options = [option for option in node.get("anyOf", [node]) if option.get("type") == "object"]
    return options[0] if options else None


def locate(location: Sequence[str | int]) -> dict[str, Any] | None:
    """The node at a place in a configuration: keys, names and positions in lists; None if there is none."""
    node = tree()
    for part in location:
        if isinstance(part, int):
            found = _item(node, part)
        else:
            inside = children(node)
            found = inside.get(part, inside.get(ANY_NAME))
        if found is None:
            return None
        node = found
    return node


def _item(node: dict[str, Any], position: int) -> dict[str, Any] | None:
    for option in node.get("anyOf", [node]):
        fixed = option.get("prefixItems", [])
        if position < len(fixed):
            return fixed[position]
        if "items" in option:
            return option["items"]
    return None


def _expand(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_expand(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    expanded = {key: _expand(value, definitions) for key, value in node.items() if key != "title"}
    if "properties" in node:
        # A setting may be called "title"; only the titles that pydantic makes up are dropped.
        expanded["properties"] = {k: _expand(v, definitions) for k, v in node["properties"].items()}
    if "patternProperties" in expanded:
        expanded["additionalProperties"] = False
    return expanded


def _set_defaults(node: dict[str, Any], value: Any) -> dict[str, Any]:
    """Put ``value``, what holds here when nothing is given, on the keys instead of on their sections."""
    node = dict(node)
    if "anyOf" in node:
        if isinstance(value, dict):
            node.pop("default", None)
            node["anyOf"] = [_set_defaults(o, value) if "properties" in o else o for o in node["anyOf"]]
        else:
            node["default"] = value
    elif "properties" in node:
        node.pop("default", None)
        node["properties"] = {name: _set_defaults(child, value[name]) for name, child in node["properties"].items()}
    else:
        node["default"] = value
    return node
