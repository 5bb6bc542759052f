"""Damage to files: blind changes of bytes, and changes of JSON and other text that leave the rest as it is."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[bytes, bytes, Random], bytes]
"""From a valid file, another valid file of the same kind and a source of randomness to a damaged one."""

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    255,
    65_535,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**40,
    -(2**63) - 1,
)
TEXTS = (
    "",
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\x00c",
    "\u202egnp.exe",
    "\ud800",
    "../../../etc/passwd",
    "/etc/passwd",
    "x" * 70_000,
    "[/bold]",
    "[" * 3_000,
    "9" * 5_000,
    "null",
    "nan",
    "1e999",
    "0x" + "f" * 4_000,
    "2001-99-99",
)
RAW = (
    *("NaN", "-Infinity", "1e999", "9" * 5_000, "-" + "1" * 400, "1e-9999", "[" * 100_000, "tru", ""),
    *("[" * depth + "]" * depth for depth in (60, 900, 3_000)),
    '{"a":' * 500 + "1" + "}" * 500,
)
"""Pieces that stand where JSON wants a value."""


def change_bytes(content: bytes, other: bytes, draws: Random) -> bytes:
    """Flip bits, cut, insert, delete, repeat, splice with ``other``, or write an extreme number; one to three times."""
    for _ in range(draws.choice((1, 1, 1, 2, 3))):
        content = draws.choice(_BLIND)(bytearray(content), other, draws)
    return content


def _place(content: bytes, draws: Random) -> int:
    return draws.randrange(len(content) + 1)


def _flip(content: bytearray, other: bytes, draws: Random) -> bytes:
    for _ in range(draws.choice((1, 1, 2, 8))):
        if content:
            content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    return bytes(content)


def _cut(content: bytearray, other: bytes, draws: Random) -> bytes:
    return bytes(content[: _place(content, draws)])


def _insert(content: bytearray, other: bytes, draws: Random) -> bytes:
    at = _place(content, draws)
    new = draws.choice((draws.randbytes(draws.randrange(1, 40)), b"\x00" * 64, b"[" * 50, b"{" * 50, b"\xff\xfe", b'"'))
    return bytes(content[:at] + new + content[at:])


def _delete(content: bytearray, other: bytes, draws: Random) -> bytes:
    at = _place(content, draws)
    return bytes(content[:at] + content[at + draws.randrange(1, 200) :])


def _repeat(content: bytearray, other: bytes, draws: Random) -> bytes:
    start, end = sorted((_place(content, draws), _place(content, draws)))
    return bytes(content[:end] + content[start:])


def _splice(content: bytearray, other: bytes, draws: Random) -> bytes:
    return bytes(content[: _place(content, draws)] + other[_place(other, draws) :])


def _number(content: bytearray, other: bytes, draws: Random) -> bytes:
    size = draws.choice((1, 2, 4, 8))
    at = draws.randrange(max(1, len(content) - size))
    content[at : at + size] = (draws.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(content)


_BLIND = (_flip, _cut, _insert, _delete, _repeat, _splice, _number)


# ---- JSON


def change_json(content: bytes, other: bytes, draws: Random) -> bytes:
    """Put an extreme value in some place, take a key out, name it otherwise, or give it twice."""
    root = json.loads(content)
    raw = None
    for _ in range(draws.choice((1, 1, 2))):
        places = list(_places(root))
        if not places:  # the first change took out all there was
            break
        holder, key = draws.choice(places)
        kind = draws.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[draws.choice(TEXTS[1:])] = holder.pop(key)
        elif kind == 2:
            holder[key], raw = "@raw@", draws.choice(RAW)
        elif kind == 3 and isinstance(holder, dict):
            holder[key] = {"@twice@": holder[key]}
        else:
            holder[key] = _extreme(holder[key], draws)
    text = json.dumps(root, ensure_ascii=draws.random() < 0.7)
    if raw is not None:
        text = text.replace('"@raw@"', raw)
    text = re.sub(r'("[^"]*"): \{"@twice@": (\d+|"[^"]*")\}', r"\1: \2, \1: \2", text)
    return text.encode("utf-8", "surrogatepass")


def _places(node: Any) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from _places(value)


def _extreme(value: Any, draws: Random) -> Any:
    if isinstance(value, list) and value and draws.random() < 0.4:
        return draws.choice((value * draws.choice((2, 200)), value[:-1], [value], value[::-1]))
    if isinstance(value, int | float) and draws.random() < 0.6:
        return draws.choice((*NUMBERS, -value, value + 0.5, value * 1000, str(value), 1e308, -1e308, 5e-324))
    if isinstance(value, str) and draws.random() < 0.6:
        return draws.choice((*TEXTS, value * 2, value[:-1]))
    return draws.choice((None, True, [], {}, "", 0, -1, 0.5, [[]], {"a": {"b": []}}, [0] * 5_000, draws.choice(TEXTS)))


# ---- other text, by lines


def change_text(content: bytes, other: bytes, draws: Random) -> bytes:
    """Put an extreme text or number in place of a word, or move lines about."""
    lines = content.decode().split("\n")
    kind, at = draws.randrange(5), draws.randrange(len(lines))
    if kind == 0:
        lines.insert(at, draws.choice(lines))
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines[at] = draws.choice(("  ", "\t", "- ", ",", "&a ", "*a ", "!!int ", "? ", "<<: ", "%")) + lines[at]
    else:
        words = re.split(r"([,:\s]+)", lines[at])
        words[draws.randrange(0, len(words), 2)] = str(draws.choice((*NUMBERS, *TEXTS, *YAML)))
        lines[at] = "".join(words)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


YAML = (
    "*a",
    "&a [*a, *a]",
    "!!binary x",
    "!!int ''",
    "!!bool maybe",
    "!!timestamp x",
    "!!set {a}",
    "!!omap [a]",
    "!!float x",
    "!!python/object/apply:os.system [id]",
    "{<<: 3}",
    "1:" * 300 + "1",
    "[" * 2_000 + "]" * 2_000,
)
