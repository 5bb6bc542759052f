"""JSON that nobody wrote in earnest, and what messages show of it."""

import io
import os

import pytest
from rich.console import Console

from dfml.artefacts.zoo import ZooManifest
from dfml.cli.verify import Finding, show
from dfml.errors import ConfigError, DfmlError, FileFormatError, printable
from dfml.files.reading import DEEPEST_JSON, LARGEST_JSON, open_ordinary, read_json


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"[" * 1000 + b"]" * 1000, f"nested deeper than {DEEPEST_JSON}"),
        (b"[" * 10**6, f"nested deeper than {DEEPEST_JSON}"),
        (b'"\\"[[[' + b'\\"[' * 10**6, "Unterminated string"),
        (b"9" * 10**6, "beyond 64 bits"),
        (b"9223372036854775808", "beyond 64 bits"),
        (b"NaN", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b"1e999", "1e999 is too large"),
        (b'1, "a": 2', "a key is given twice"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b'"\xff"', "can't decode byte 0xff"),
        (b" " * LARGEST_JSON, "larger than 16 MiB"),
    ],
    ids=lambda value: str(value[:12]),
)
def test_json(tmp_path, value, message):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"format": "dfml.zoo", "version": 1, "a": ' + value + b"}")
    with pytest.raises(FileFormatError, match=message) as caught:
        read_json(path, format="dfml.zoo", version=1)
    assert str(path) in str(caught.value)


def test_json_that_is_odd_but_right(tmp_path):
    path = tmp_path / "a.json"
    deep = "[" * (DEEPEST_JSON - 1) + "]" * (DEEPEST_JSON - 1)
    text = f'{{"format": "f", "version": 1, "a": "{"[" * 99}", "b": "\\ud83d\\ude00", "c": {deep}, "d": {2**63 - 1}}}'
    path.write_text(text, encoding="utf-8-sig")
    read = read_json(path, format="f", version=1)
    assert (read["a"], read["b"], read["d"]) == ("[" * 99, "😀", 2**63 - 1)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "zoo.json")
    with pytest.raises(FileFormatError, match="not an ordinary file"):
        ZooManifest.load(tmp_path / "zoo.json")
    with pytest.raises(OSError, match="not an ordinary file"):
        open_ordinary("/dev/zero")


def test_messages_are_printable_and_end(tmp_path):
    text = "\x1b[2J\x07\u202ename\r\n\u200d"
    assert printable(text) == r"\x1b[2J\x07\u202ename\r\n" + "\u200d"
    assert str(ConfigError("a\nb\x1b")) == "a\nb\\x1b"
    assert str(FileFormatError("a\nb\x1b")) == "a\\nb\\x1b"
    assert len(str(DfmlError("x" * 10**6))) < 20_100
    with pytest.raises(FileFormatError, match=r"\\x1b\[31mzoo"):
        ZooManifest.load(tmp_path / "\x1b[31mzoo" / "zoo.json")


def test_verify_shows_names_as_they_are():
    console = Console(file=io.StringIO(), width=200)
    show([Finding("foreign", "results/demo/[/bold]\x1b[2J.csv")], console)
    assert r"[/bold]\x1b[2J.csv" in console.file.getvalue()
