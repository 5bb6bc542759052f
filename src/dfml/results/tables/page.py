"""A table as one HTML page without scripts or outside files: the form in which the report shows it."""

from __future__ import annotations

from html import escape
from itertools import groupby

from dfml.results.tables.table import Table, TableCell, TableSection

_STYLE = """
body { font: 13px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 1.2em; }
h1 { font-size: 1.15em; margin: 0 0 1em; }
h2 { font-size: 1em; font-weight: normal; font-style: italic; margin: 1.5em 0 .4em; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: .2em .6em; text-align: left; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
tbody tr:first-child td { border-top: 1px solid; }
tr.break td { border-top: 1px solid #bbb; }
.number { text-align: right; }
.group { text-align: center; border-bottom: 1px solid #888; }
ul { padding-left: 1.2em; max-width: 60em; color: #444; }
"""


def to_html(table: Table) -> str:
    """The table as an HTML page: its caption, one grid per section, its notes."""
    lines = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(table.caption)}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(table.caption)}</h1>",
        grids(table),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def grids(table: Table) -> str:
    """One grid per section and the notes, as HTML to be put into a page."""
    notes = [escape(note) for note in table.notes]
    notes += [f"<sup>{letter}</sup> {escape(text)}" for letter, text in table.footnotes.items()]
    lines = [line for section in table.sections for line in _section(section)]
    return "\n".join([*lines, *(["<ul>", *(f"<li>{note}</li>" for note in notes), "</ul>"] if notes else [])])


def _section(section: TableSection) -> list[str]:
    """A heading, if the section has a title, and its grid."""
    lines = [f"<h2>{escape(section.title)}</h2>"] if section.title else []
    lines += ["<table><thead>"]
    if any(column.group for column in section.columns):
        lines.append(_group_headings(section))
    titles = (f"<th{_kind(column.numeric)}>{escape(column.title)}</th>" for column in section.columns)
    lines += [f"<tr>{''.join(titles)}</tr>", "</thead><tbody>"]
    for index, row in enumerate(section.rows):
        cells = "".join(
            f"<td{_kind(column.numeric)}>{_cell(cell)}</td>" for column, cell in zip(section.columns, row, strict=True)
        )
        lines.append(f"<tr{' class=break' if index in section.breaks else ''}>{cells}</tr>")
    return [*lines, "</tbody></table>"]


def _group_headings(section: TableSection) -> str:
    """The row of headings that neighbouring columns share."""
    headings = [
        f"<th colspan={len(list(columns))}{' class=group' if group else ''}>{escape(group)}</th>"
        for group, columns in groupby(section.columns, key=lambda column: column.group)
    ]
    return f"<tr>{''.join(headings)}</tr>"


def _kind(numeric: bool) -> str:
    return " class=number" if numeric else ""


def _cell(cell: TableCell) -> str:
    text = f"<b>{escape(cell.text)}</b>" if cell.bold else escape(cell.text)
    return text + (f" <sup>{escape(cell.mark)}</sup>" if cell.mark else "")
