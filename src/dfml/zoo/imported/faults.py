"""What is wrong in a card, in lines that name the model and the key. Imports no torch."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from dfml.settings import DisagreementError, nearest

# Instead of what pydantic says.
_SAID = {
    "string_pattern_mismatch": "begins with a lower-case letter, and has nothing but these, digits and `_`",
    "model_type": "has keys of its own, such as {such}",
    "model_attributes_type": "has keys of its own, such as {such}",
}


def faults_of(error: ValidationError, values: Any, *, known: Collection[str]) -> list[str]:
    """One line for everything that is wrong in ``values``, which were read from a card; ``known`` are its keys."""
    details = _first_faults(error.errors(include_url=False))
    return [_with_name(fault, values) for detail in details for fault in _faults(detail, known)]


def _first_faults(details: Sequence[Any]) -> list[Any]:
    """All but the lists that are called too short, since what stands in them is wrong and was left out."""
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short" or not any(p[: len(detail["loc"])] == detail["loc"] != p for p in places)
    ]


def _with_name(fault: str, values: Any) -> str:
    """A fault in a place such as ``models.3.classes`` with the name of that model, if it has one."""
    if not (place := re.match(r"models\.(\d+)", fault)):
        return fault
    model = values["models"][int(place[1])]
    name = model.get("name") if isinstance(model, Mapping) else None
    return f"{fault} (model `{name}`)" if isinstance(name, str) and name.isprintable() else fault


def _faults(detail: Any, known: Collection[str]) -> list[str]:
    where = ".".join(map(str, detail["loc"]))
    fault = detail.get("ctx", {}).get("error")
    if isinstance(fault, DisagreementError):
        return [f"{'.'.join(filter(None, (where, one.key)))}: {one.message}" for one in fault.problems]
    if detail["type"] == "extra_forbidden":
        meant = nearest(str(detail["loc"][-1]), known)
        return [f"{where}: unknown key{f'; did you mean `{meant}`?' if meant else ''}"]
    if detail["type"] == "missing":
        return [f"{where}: missing"]
    if detail["type"] in _SAID:
        such = "`side: 32`" if detail["loc"][-1:] == ("input",) else "`name: birds`"
        return [f"{where}: {_SAID[detail['type']].format(such=such)}"]
    return [f"{where}: {fault or detail['msg'].replace('valid tuple', 'valid list')}"]
