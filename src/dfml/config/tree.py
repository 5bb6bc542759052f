"""The configuration as one tree, a JSON schema with every section written out in place, and words for its values.

Error messages, the schema file and the reference are all made from it, so none of them keeps a list of keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dfml.catalogue import section_key
from dfml.config.root import Config, changed_beside

ANY_NAME = "<name>"
VARIANTS = "variants"
_PATTERNS = {
    "^[a-z][a-z0-9_]*$": "a name of lower-case letters, digits and `_` that starts with a letter",
    "^[a-z][a-z0-9_]*-[a-z0-9][a-z0-9_]*$": "a method, a hyphen and a name, such as `free-parallel`",
    "^[a-z][a-z0-9_]*(-[a-z0-9][a-z0-9_]*)?$": "a method, such as `free`, or a variant, such as `free-parallel`",
}


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
    """The node at a place in a configuration: keys, names and positions in lists; None if there is none.

    A variant has the keys of its method's section, and of the sections beside it that it may change.
    """
    if len(location) > 1 and location[0] == VARIANTS and location[1] != ANY_NAME:
        (_, name, *below), section = location, section_key(str(location[1]))
        if below and below[0] in changed_beside(str(name)):
            return locate(below)
        if section:
            return locate((section, *below))
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


def describe(node: dict[str, Any]) -> str:
    """What a key takes, such as `a whole number of at least 1`."""
    if "anyOf" in node:
        # Null first: after a list it would read as one of its items.
        options = sorted(node["anyOf"], key=lambda option: option.get("type") != "null")
        return " or ".join(describe(option) for option in options)
    if "const" in node:
        return f"`{_word(node['const'])}`"
    if "enum" in node:
        return "one of " + ", ".join(f"`{_word(choice)}`" for choice in node["enum"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        return f"a {'whole ' if kind == 'integer' else ''}number{_bounds(node)}"
    if kind == "array":
        return _describe_list(node)
    if kind == "string":
        pattern = node.get("pattern")
        return "a text" if pattern is None else _PATTERNS.get(pattern, f"a text like `{pattern}`")
    if kind == "object":
        return _describe_section(node)
    return {"boolean": "`true` or `false`", "null": "`null`"}.get(str(kind), "a value")


def _describe_list(node: dict[str, Any]) -> str:
    fixed = node.get("prefixItems")
    item = fixed[0] if fixed else node.get("items", {})
    count = f" of {len(fixed)}" if fixed else f" of {node['minItems']} or more" if "minItems" in node else ""
    return f"a list{count}, each {describe(item)}"


def _describe_section(node: dict[str, Any]) -> str:
    named = list(node.get("patternProperties", {}).values())
    if not named:
        return "a section"
    if named[0].get("type") == "object":
        return "one section or more, by name"
    return f"names, each with {describe(named[0])}"


def _bounds(node: dict[str, Any]) -> str:
    words = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "of at most",
        "multipleOf": "divisible by",
    }
    if {"minimum", "maximum"} <= set(node):
        words = {"minimum": "from", "maximum": "to", "multipleOf": "divisible by"}
    parts = [f"{word} {node[bound]}" for bound, word in words.items() if bound in node]
    return " " + " ".join(parts).replace(" divisible", ", divisible") if parts else ""


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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
