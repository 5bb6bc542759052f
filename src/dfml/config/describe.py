"""Words for the values a key takes, from its part of the schema."""

from typing import Any

_PATTERNS = {"^[a-z][a-z0-9_]*$": "a name of lower-case letters, digits and `_` that starts with a letter"}


def describe(node: dict[str, Any]) -> str:
    """What a key takes, such as `a whole number of at least 1`."""
    if "anyOf" in node:
        # Null first: after a list it would read as one of its items.
        options = sorted(node["anyOf"], key=lambda option: option.get("type") != "null")
        return " or ".join(describe(option) for option in options)
    if "const" in node:
        return f"`{_plain(node['const'])}`"
    if "enum" in node:
        return "one of " + ", ".join(f"`{_plain(choice)}`" for choice in node["enum"])
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
    return {"boolean": "`true` or `false`", "null": "`null`"}.get(kind, "a value")


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


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
