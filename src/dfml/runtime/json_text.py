"""JSON that may be hostile: bounded depth and numbers, no key twice, text that is text."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any

# Ours have some ten levels; Python's own limits are at hundreds, in whatever function walks through the content next.
DEEPEST_JSON = 64
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(content: bytes) -> Any:
    """Parse JSON that may be hostile; raises ValueError."""
    text = content.decode("utf-8-sig")
    if text.count("[") + text.count("{") > DEEPEST_JSON:
        brackets = re.finditer(r"[\[\]{}]", _STRING.sub("", text))
        depths = accumulate(1 if bracket.group() in "[{" else -1 for bracket in brackets)
        if any(depth > DEEPEST_JSON for depth in depths):
            raise ValueError(f"nested deeper than {DEEPEST_JSON} levels")
    obj = json.loads(
        text, object_pairs_hook=_distinct, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
    )
    if _HALF_CHARACTER.search(text):
        json.dumps(obj, ensure_ascii=False).encode()  # fails where one half of a character stands alone
    return obj


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if len(obj) < len(pairs):
        raise ValueError("a key is given twice")
    return obj


def _whole(text: str) -> int:
    # As text first: making a number of very many digits takes long.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:20]}… is beyond 64 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")
