"""Escapes and footnotes of Markdown, LaTeX and HTML."""

import pandas as pd

from dfml.results.tables.page import to_html
from dfml.results.tables.table import Column, Footnotes, Table, TableCell, TableSection
from dfml.results.tables.writing import to_markdown, to_tex, write_table


def table(rows, columns=None, **changes) -> Table:
    columns = columns or [Column("name", numeric=False), Column("value")]
    content = {"stem": "t", "caption": "A table", "data": pd.DataFrame({"x": [1 / 3]})}
    return Table(**content | {"sections": [TableSection("", columns, rows)]} | changes)


def test_markdown_is_a_plain_pipe_table():
    assert to_markdown(table([[TableCell("a"), TableCell("1.0")]], notes=["A note."])) == (
        "**A table**\n\n| name   |   value |\n|:-------|--------:|\n| a      |     1.0 |\n\n- A note.\n"
    )


def test_markdown_escapes_what_would_break_a_row():
    text = to_markdown(table([[TableCell("a|b *c* _d_ e_f\ng"), TableCell("")]]))
    assert r"a\|b \*c\* \_d\_ e_f g" in text


def test_empty_section_is_still_a_table():
    assert "| name   | value   |\n|--------|---------|" in to_markdown(table([]))


def test_tex_escapes_every_special_character():
    text = to_tex(table([[TableCell(r"a_b & 5% $ # {x} ~ ^ \ <y> ±"), TableCell("")]]))
    assert (
        r"a\_b \& 5\% \$ \# \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}y\textgreater{} $\pm$"
    ) in text


def test_tex_spans_shared_headings():
    columns = [Column("name", numeric=False), Column("a", group="g"), Column("b", group="g")]
    text = to_tex(table([[TableCell("x"), TableCell("1"), TableCell("2")]], columns))
    assert r"\multicolumn{1}{c}{} & \multicolumn{2}{c}{g} \\" in text
    assert r"\cmidrule(lr){2-3}" in text


def test_markdown_names_the_heading_in_every_column():
    text = to_markdown(table([[TableCell("1"), TableCell("2")]], [Column("a", group="g"), Column("b", group="g")]))
    assert "g: a |" in text
    assert "g: b |" in text


def test_footnotes_share_letters_and_go_past_z():
    notes = Footnotes()
    letters = [notes.mark(f"note {i}") for i in range(28)]
    assert letters[:2] + letters[25:] == ["a", "b", "z", "aa", "ab"]
    assert notes.mark("note 1") == "b"


def test_csv_keeps_full_precision(tmp_path):
    write_table(table([]), tmp_path)
    assert (tmp_path / "t.csv").read_text() == f"x\n{1 / 3!r}\n"


class TestHtml:
    def test_cells_are_escaped_and_notes_follow(self):
        notes = Footnotes()
        cell = TableCell("<b> & c", mark=notes.mark("why <not>"))
        page = to_html(table([[cell, TableCell("1")]], notes=["5 < 6"], footnotes=notes))
        assert "<td>&lt;b&gt; &amp; c <sup>a</sup></td><td class=number>1</td>" in page
        assert "<li>5 &lt; 6</li>" in page
        assert "<li><sup>a</sup> why &lt;not&gt;</li>" in page

    def test_shared_headings_span_their_columns(self):
        columns = [Column("name", numeric=False), Column("a", group="g"), Column("b", group="g")]
        assert "<th colspan=1></th><th colspan=2 class=group>g</th>" in to_html(table([], columns))

    def test_page_needs_no_other_file(self):
        page = to_html(table([[TableCell("a"), TableCell("1")]]))
        assert not any(word in page for word in ("href", "src=", "http", "<script"))
