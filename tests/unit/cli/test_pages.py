"""The part of a page that a command writes."""

import pytest

from dfml.cli.pages import with_block
from dfml.errors import FileFormatError

BEGIN, END = "<!-- table:main:begin -->", "<!-- table:main:end -->"


def page(folder, text):
    (folder / "README.md").write_text(text)
    return folder / "README.md"


def test_block_is_replaced_and_the_rest_kept(tmp_path):
    readme = page(tmp_path, f"# Title\n\n{BEGIN}\nold\n{END}\n\nEnd.\n")
    old, new = with_block(readme, "| a |\n", name="main")
    assert old == readme.read_text()
    assert new == f"# Title\n\n{BEGIN}\n\n| a |\n\n{END}\n\nEnd.\n"


def test_second_time_changes_nothing(tmp_path):
    readme = page(tmp_path, f"{BEGIN}{END}\n")
    readme.write_text(with_block(readme, "x", name="main")[1])
    old, new = with_block(readme, "x", name="main")
    assert old == new


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_wrong_markers_are_refused(tmp_path, text):
    with pytest.raises(FileFormatError, match=r"README\.md: needs the line"):
        with_block(page(tmp_path, text), "x", name="main")


def test_a_missing_page_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"nothing\.md"):
        with_block(tmp_path / "nothing.md", "x", name="main")
