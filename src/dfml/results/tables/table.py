"""What a table is: exact numbers for machines, and sections of short text for readers."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import pandas as pd


@dataclass(frozen=True)
class TableCell:
    """Text of one cell, with the letter of its footnote, if any, and whether it is set in bold."""

    text: str
    mark: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a section; neighbours with the same non-empty ``group`` share a heading."""

    title: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class TableSection:
    """A titled grid of cells [rows][columns]; ``breaks`` are the rows that start a new group."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[TableCell]]
    breaks: frozenset[int] = frozenset()


class Footnotes:
    """Letters for footnotes, one per distinct text, in order of first use."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def mark(self, text: str) -> str:
        """The letter of ``text``: a to z, then aa, ab and so on."""
        if text not in self._letters:
            first, last = divmod(len(self._letters), 26)
            prefix = string.ascii_lowercase[first - 1] if first else ""
            self._letters[text] = prefix + string.ascii_lowercase[last]
        return self._letters[text]

    def items(self) -> list[tuple[str, str]]:
        """(letter, text) in order."""
        return [(letter, text) for text, letter in self._letters.items()]


@dataclass(frozen=True)
class Table:
    """A table: ``data`` becomes the CSV at full precision; ``sections`` become Markdown and LaTeX."""

    stem: str
    caption: str
    data: pd.DataFrame
    sections: Sequence[TableSection]
    notes: Sequence[str] = ()
    footnotes: Footnotes = field(default_factory=Footnotes)


def number(value: float | None, form: str) -> TableCell:
    """A formatted number, or a dash where nothing was measured."""
    return TableCell("–" if value is None else form.format(value))


class _OfPool(Protocol):
    @property
    def pool(self) -> str: ...


_Item = TypeVar("_Item", bound=_OfPool)


def in_order_of(pools: Sequence[str], items: Sequence[_Item]) -> list[_Item]:
    """``items`` by the place of their pool in ``pools``, unlisted pools last; else their order is kept."""
    order = {pool: place for place, pool in enumerate(pools)}
    return sorted(items, key=lambda item: order.get(item.pool, len(order)))
