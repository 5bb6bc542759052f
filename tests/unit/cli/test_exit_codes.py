"""The exit codes of `dfml`, each with what the page of the commands says of it."""

import re

import pytest

from dfml.cli import main as module
from dfml.cli.main import main
from dfml.cli.predict import SOME_UNREADABLE
from dfml.errors import DfmlError
from support.repository import ROOT

PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
DOCUMENTED = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))


def code(*words):
    """The exit code of a command, whether it returns or argparse ends the process."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code


def test_every_code_is_documented_and_no_other():
    assert set(DOCUMENTED) == {"0", "1", "2", str(SOME_UNREADABLE), "130", "141"}


@pytest.mark.parametrize("words", [["--help"], ["clean", "--help"], ["data", "status", "--help"]])
def test_help_is_no_fault(words, capsys):
    assert code(*words) == 0


@pytest.mark.parametrize(
    "words", [[], ["vreify"], ["clean", "--all"], ["watch", "demo", "--every", "0"], ["data"], ["predict"], ["publish"]]
)
def test_a_wrong_command_line_is_2(words, capsys):
    assert code(*words) == 2
    assert "usage: dfml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["verify"], ["clean"], ["watch", "demo"], ["snapshot"], ["publish", "none"], ["predict", "a", "b"]]
)
def test_what_cannot_be_done_is_1_and_one_message(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert code(*words) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"dfml {words[0]}: ") and "Traceback" not in said


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["adapt", LONG, LONG, "-o", "pets.safetensors"],
        ["predict", LONG, LONG],
        ["evaluate", LONG, LONG],
        ["zoo", "show", LONG],
        ["zoo", "import", LONG],
        ["watch", LONG],
        ["compare", LONG],
    ],
    ids=" ".join,
)
def test_a_name_too_long_for_any_file_is_one_message(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert code(*words) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"dfml {words[0]}: ") and LONG in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(DfmlError("no"), 1), (PermissionError(13, "not you", "a\nfile"), 1), (KeyboardInterrupt(), 130)],
)
def test_ctrl_c_has_a_code_of_its_own(monkeypatch, raised, expected, capsys):
    def run(console, **_):
        raise raised

    monkeypatch.setattr(module.clean, "run", run)
    assert code("clean") == expected
