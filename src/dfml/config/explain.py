"""What pydantic found wrong, in the words of the configuration file: key, fault, remedy."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dfml.config.root import changed_beside
from dfml.config.tree import ANY_NAME, VARIANTS, children, describe, keys, locate, section_of
from dfml.errors import some
from dfml.settings import DisagreementError, VariantError, nearest

Location = tuple[str | int, ...]
"""Keys, chosen names and positions in lists, from the top."""

REMOVED: Mapping[Location, str] = {
    ("icfil",): "removed: PURER's calibration at meta-test is gone (docs/methods/purer.md); take the section out",
    ("free_heads", "heads"): "moved: these keys now stand in `mixed_heads`, whose learner `free_heads` begins with",
    ("free_heads", "free"): "moved: these keys now stand in `free_heads` itself",
}
"""Keys of earlier versions: what became of each, and what to do about it."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)e[-+]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Violation:
    """One problem. `involves` are further places it depends on, or that a slip is likely to have meant."""

    location: Location
    message: str
    involves: tuple[Location, ...] = ()

    def __str__(self) -> str:
        return f"{_dotted(self.location)}: {self.message}"

    @property
    def places(self) -> tuple[Location, ...]:
        """Where it is, and what it involves."""
        return (self.location, *self.involves)


def violations(details: list[Any]) -> Iterator[Violation]:
    """Problems from ``ValidationError.errors()``."""
    for detail in details:
        location: Location = detail["loc"]
        inside = [other["loc"] for other in details if other["loc"][: len(location)] == location != other["loc"]]
        fault = detail.get("ctx", {}).get("error")
        if isinstance(fault, VariantError):
            yield from violations(list(within_variants([detail])))
        elif isinstance(fault, DisagreementError):
            for problem in fault.problems:
                involved = tuple((*location, *key.split(".")) for key in problem.involves)
                yield Violation((*location, *problem.key.split(".")), problem.message, involved)
        elif fault is not None:
            yield Violation(location, str(fault))
        elif detail["type"] == "extra_forbidden":
            yield _unknown_key(location)
        elif location and location[-1] == "[key]":
            yield Violation(location[:-1], f"`{location[-2]}` cannot be a name here; use {_name_rule(location[:-2])}")
        elif detail["type"] == "invalid_key":
            yield Violation(location, "unknown key; keys are names, not numbers or other values")
        elif detail["type"] == "missing" and not isinstance(location[-1], int):
            yield Violation(location, f"missing; give {describe(locate(location) or {})}")
        elif detail["type"] == "missing":
            yield _wrong_value(location[:-1], detail["input"])
        elif not inside:
            yield _wrong_value(location, detail["input"])


def within_variants(details: list[Any]) -> Iterator[Any]:
    """What pydantic found in the sections of variants, placed where the variants stand."""
    for fault in (detail.get("ctx", {}).get("error") for detail in details):
        if isinstance(fault, VariantError):
            for name, section, found in fault.found:
                place = (VARIANTS, name, *((section,) if section in changed_beside(name) else ()))
                yield from ({**detail, "loc": (*place, *detail["loc"])} for detail in found)


def _unknown_key(location: Location) -> Violation:
    if location in REMOVED:
        return Violation(location, REMOVED[location])
    name, above = str(location[-1]), location[:-1]
    here = list(children(locate(above) or {}))
    elsewhere = [key for key in keys() if key.path[-1] == name]
    if meant := nearest(name, here):
        message = f"unknown key; did you mean `{_dotted((*above, meant))}`?"
        if elsewhere:
            message += f" (`{name}` is a key of {_places(elsewhere)})"
        return Violation(location, message, ((*above, meant),))
    if elsewhere:
        return Violation(location, f"unknown key here; `{name}` is a key of {_places(elsewhere)}: move it there")
    everywhere = sorted({key.path[-1] for key in keys()} - {ANY_NAME})
    if meant := nearest(name, everywhere):
        places = _places([key for key in keys() if key.path[-1] == meant])
        return Violation(location, f"unknown key; did you mean `{meant}`, a key of {places}?")
    return Violation(location, f"unknown key; known here: {', '.join(f'`{one}`' for one in here)}")


def _places(found: list[Any], most: int = 4) -> str:
    sections = [".".join(key.path[:-1]) for key in found]
    return some((f"`{section}`" if section else "the top level" for section in sections), most)


def _name_rule(section: Location) -> str:
    patterns = (section_of(locate(section) or {}) or {}).get("patternProperties", {})
    return " or ".join(describe({"type": "string", "pattern": pattern}) for pattern in patterns)


def _wrong_value(location: Location, value: Any) -> Violation:
    node = locate(location) or {}
    expected = describe(node)
    inside = [key for key in children(node) if key != ANY_NAME]
    if inside:
        expected += f" with keys such as {', '.join(f'`{key}`' for key in inside[:3])}"
    hint = _hint(node, value)
    return Violation(location, f"expected {expected}, got {_show(value)}" + (f"; {hint}" if hint else ""))


def _hint(node: dict[str, Any], value: Any) -> str:
    options = node.get("anyOf", [node])
    wanted = {option.get("type") for option in options}
    choices = [str(choice) for option in options for choice in option.get("enum", [])]
    if value is None:
        return "a key with nothing after it is null: give it a value or remove it"
    if isinstance(value, bool):
        return "YAML reads on, off, yes and no as true or false: put text in quotes" if "string" in wanted else ""
    if isinstance(value, str) and _NUMBER.fullmatch(value) and wanted & {"integer", "number"}:
        return f"YAML reads `{value}` as text: write {_readable(value, whole='number' not in wanted)}"
    if isinstance(value, str) and (meant := nearest(value, choices)):
        return f"did you mean `{meant}`?"
    if isinstance(value, float) and value.is_integer() and "integer" in wanted:
        return f"write `{value:.0f}`"
    if "array" in wanted and not isinstance(value, list | Mapping):
        return f"write `[{value}]`"
    return ""


def _readable(text: str, *, whole: bool) -> str:
    """The number in ways that YAML reads as one: it wants both a point and a signed exponent."""
    number = Decimal(text)
    if whole:
        return f"`{number:.0f}`"
    mantissa, exponent = text.lower().split("e")
    if "." not in mantissa:
        mantissa += ".0"
    return f"`{mantissa}e{int(exponent):+d}` or `{number:f}`"


def _show(value: Any, longest: int = 60) -> str:
    if isinstance(value, Mapping):
        return "a section of keys" if value else "an empty section"
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    if isinstance(value, str):
        text, kind = repr(value), "the text "
    else:
        text, kind = str(value), ""
    return f"{kind}`{text if len(text) <= longest else text[: longest - 1] + '…'}`"


def _dotted(location: Location) -> str:
    if not location:
        return "top level"
    first, *others = location
    return f"{first}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in others)
