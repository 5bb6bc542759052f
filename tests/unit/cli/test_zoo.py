"""`dfml zoo show`."""

import io

from rich.console import Console

from dfml.cli.zoo import show
from support.lab import model, module, taken, write_card, write_networks


def test_names_with_brackets_are_shown_as_they_are(tmp_path):
    write_networks(tmp_path / "a [lab]")
    names = ["finch [house]", "n[/x]", "owl"]
    entry = model(tmp_path / "a [lab]", "own", module("own", 3), "nets.py:own", options={"outputs": 3}, classes=names)
    taken(write_card(tmp_path / "a [lab]", [entry]), tmp_path / "zoo")
    console = Console(file=io.StringIO(), width=200)
    assert show(console, tmp_path / "zoo") == 0
    shown = console.file.getvalue()
    assert "[lab]" in shown
    assert "6, input of answer" in shown
    assert "pixels of 0 to 1, less 0.4 0.5 0.6, by 0.2 0.25 0.3: own" in shown
