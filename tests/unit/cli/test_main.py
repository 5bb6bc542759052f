"""What holds for every command of `dfml`: pipes that end, names in no encoding, no slow import."""

import os
import subprocess
import sys

import pytest
import yaml

from dfml.cli.main import main
from support import lab


def started(stdout, unbuffered=""):
    """A command that prints a line, into ``stdout``."""
    code = """
import sys
from dfml.cli import main

main.claims.run = lambda console, check: print("a line") or 0
sys.exit(main.main(["claims"]))
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


both_bufferings = pytest.mark.parametrize("unbuffered", ["", "1"])


def test_the_command_line_is_there_before_tables_and_tensors_are():
    code = "import sys, dfml.cli.main; print({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@both_bufferings
def test_output_that_cannot_be_written_is_told_in_one_line(unbuffered):
    with open("/dev/full", "w") as full:
        run = started(full, unbuffered)
    assert (run.returncode, run.stderr) == (1, "dfml claims: No space left on device\n")


@both_bufferings
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    run = started(writing, unbuffered)
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, "")


def test_a_zoo_is_not_written_over_another(tmp_path, capsys):
    card = lab.write_lab(tmp_path / "lab")
    assert main(["zoo", "import", str(card), "-o", str(tmp_path / "zoo")]) == 0
    assert main(["zoo", "import", str(card), "-o", str(tmp_path / "zoo")]) == 0  # the same anew
    kept = (tmp_path / "zoo" / "zoo.json").read_bytes()
    other = tmp_path / "lab" / "other.yaml"
    other.write_text(yaml.safe_dump(yaml.safe_load(card.read_text())))
    assert main(["zoo", "import", str(other), "-o", str(tmp_path / "zoo")]) == 1
    assert "holds another zoo, which would be lost" in capsys.readouterr().err
    assert (tmp_path / "zoo" / "zoo.json").read_bytes() == kept
