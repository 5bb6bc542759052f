"""A table as CSV, Markdown and LaTeX text, and every format of it written to files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tabulate import tabulate

from dfml.files.atomic import atomic_write
from dfml.results.tables.page import to_html
from dfml.results.tables.table import Column, Table, TableCell, TableSection

_TEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "Σ": r"$\Sigma$",
    "²": r"$^2$",
    "–": "--",
    "…": r"\dots{}",
}


def write_table(table: Table, folder: Path) -> list[Path]:
    r"""Write ``{stem}.csv``, ``.md``, ``.tex`` and ``.html`` into ``folder``; returns their paths.

    The same table gives the same bytes. The LaTeX file is to be read with ``\input``; it needs the
    package booktabs and nothing else.
    """
    buffer = io.StringIO()
    table.data.to_csv(buffer, index=False, lineterminator="\n")
    contents = {
        "csv": buffer.getvalue(),
        "md": to_markdown(table),
        "tex": to_tex(table),
        "html": to_html(table),
    }
    paths = []
    for suffix, content in contents.items():
        path = Path(folder) / f"{table.stem}.{suffix}"
        atomic_write(path, content.encode("utf-8"))
        paths.append(path)
    return paths


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown: a bold caption, one pipe table per section, notes as a list."""
    blocks = [f"**{_markdown(table.caption)}**"]
    for section in table.sections:
        if section.title:
            blocks.append(f"*{_markdown(section.title)}*")
        headers = [_markdown(_flat_title(column)) for column in section.columns]
        body = [[_markdown_cell(cell) for cell in row] for row in section.rows]
        alignment = ["right" if column.numeric else "left" for column in section.columns]
        blocks.append(tabulate(body, headers=headers, tablefmt="pipe", colalign=alignment, disable_numparse=True))
    notes = [_markdown(note) for note in table.notes]
    notes += [f"({letter}) {_markdown(text)}" for letter, text in table.footnotes.items()]
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def to_tex(table: Table) -> str:
    """The table as LaTeX: one ``table`` float with a booktabs ``tabular`` and the notes per section.

    A float cannot break across pages, so the sections do not share one. Labels are ``tab:{stem}``, or
    ``tab:{stem}:1`` and so on where there are several.
    """
    notes = [_tex(note) for note in table.notes]
    notes += [rf"\textsuperscript{{{letter}}}~{_tex(text)}" for letter, text in table.footnotes.items()]
    lines: list[str] = []
    for number, section in enumerate(table.sections, start=1):
        caption = f"{table.caption}: {section.title}" if section.title else table.caption
        label = table.stem if len(table.sections) == 1 else f"{table.stem}:{number}"
        lines += [r"\begin{table}[htbp]", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}"]
        lines += [rf"\caption{{{_tex(caption)}}}", rf"\label{{tab:{label}}}", *_tex_tabular(section)]
        if notes:
            lines += [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize"]
            lines += [*(note + r"\par" for note in notes), r"\end{minipage}"]
        lines += [r"\end{table}"]
    return "\n".join(lines) + "\n"


def _tex_tabular(section: TableSection) -> list[str]:
    """The lines of one ``tabular``, with a row of shared headings where columns have groups."""
    alignment = "".join("r" if column.numeric else "l" for column in section.columns)
    lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    if any(column.group for column in section.columns):
        lines += _tex_group_header(section.columns)
    lines += [" & ".join(_tex(column.title) for column in section.columns) + r" \\", r"\midrule"]
    for index, row in enumerate(section.rows):
        if index and index in section.breaks:
            lines.append(r"\addlinespace")
        lines.append(" & ".join(_tex_cell(cell) for cell in row) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _tex_group_header(columns: Sequence[Column]) -> list[str]:
    """The headings that span several columns, and the rules below them."""
    headings, rules, position = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        headings.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    return [" & ".join(headings) + r" \\", " ".join(rules)]


def _flat_title(column: Column) -> str:
    """Markdown has one header row only: ``group: title``."""
    return f"{column.group}: {column.title}" if column.group else column.title


def _markdown(text: str) -> str:
    """Escape what Markdown would interpret; underscores only where they could start emphasis."""
    text = re.sub(r"([\\`*<|])", r"\\\1", text.replace("\n", " "))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def _markdown_cell(cell: TableCell) -> str:
    text = f"**{_markdown(cell.text)}**" if cell.bold else _markdown(cell.text)
    return f"{text} ({cell.mark})" if cell.mark else text


def _tex(text: str) -> str:
    """Escape every character that TeX would interpret, and those its default fonts lack."""
    return "".join(_TEX_CHARACTERS.get(character, character) for character in text.replace("\n", " "))


def _tex_cell(cell: TableCell) -> str:
    text = rf"\textbf{{{_tex(cell.text)}}}" if cell.bold else _tex(cell.text)
    return rf"{text}\textsuperscript{{{cell.mark}}}" if cell.mark else text
