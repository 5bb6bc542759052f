"""docs/walks.md: its commands, typed one after the other, print what it says they print."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.markdown import read_markdown
from support.repository import ROOT
from support.workflow import Workflow

pytestmark = pytest.mark.slow

BLOCKS = read_markdown((ROOT / "docs" / "walks.md").read_text(encoding="utf-8")).blocks
MODULES = {"python": [], "snakemake": ["-m", "snakemake"], "dfml": ["-m", "dfml.cli.main"]}
PETS = "bird|cat|dog|fish"


def steps() -> list[tuple[str, str]]:
    """Every command of the page with what it prints there."""
    text = "\n".join(block.text for block in BLOCKS if block.language == "console")
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*(?:\n|\Z))*)", text, re.MULTILINE)


def shape(text: str, home: Path) -> str:
    """What is alike whoever trains, wherever: numbers, names of answers and widths of columns are not."""
    text = re.sub(rf"(\.png)  (?:{PETS})  ", r"\1  PET  ", text.replace(str(home), "~"))
    text = re.sub(r"after (\d+ (h|min|s) ?)+", "after TIME ", text)
    return re.sub(r"\s+|[-━]{2,}", " ", re.sub(r"\d+(\.\d+)?", "0", text)).strip()


def typed(folder: Path, command: str, home: Path, environment: dict[str, str]) -> str:
    """What a command of the page prints; a run that learns has tiny settings below the user's own, and one above."""
    program, *words = shlex.split(command.removeprefix("./run.sh "))
    words = [str(home) + word[1:] if word == "~" or word.startswith("~/") else word for word in words]
    if program == "snakemake" and "-n" not in words:
        place = words.index("--configfile") + 1
        tiny, quick = ["config/smoke.yaml", "config/brief.yaml"], "config/quick.yaml"
        words = [*words[:place], *tiny, words[place], quick, *words[place + 1 :], "--cores", "2"]
    run = subprocess.run(
        [sys.executable, *MODULES[program], *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{command}\n{run.stdout}"
    return run.stdout


def test_the_commands_print_what_the_page_says(tmp_path):
    workflow, home = Workflow.copied_to(tmp_path / "repository"), tmp_path / "home"
    shutil.copytree(ROOT / "examples", workflow.folder / "examples")
    shutil.copy(ROOT / "dvc.yaml", workflow.folder)
    play = [sys.executable, "examples/your_zoo/make_lab.py", home / "lab", "--epochs", "1"]
    subprocess.run(play, cwd=workflow.folder, env=workflow.environment(), check=True, capture_output=True)
    # The smoke configuration has all methods, another number of shots and a pool more.
    default = yaml.safe_load((workflow.folder / "config/config.yaml").read_text(encoding="utf-8"))
    brief = {"methods": default["methods"], "shots": [1], "pools": {"multi_architecture": {"methods": []}}}
    (workflow.folder / "config/brief.yaml").write_text(yaml.safe_dump(brief), encoding="utf-8")
    # What the example for a zoo writes takes many steps.
    few = {"questions": 60, "steps": 4}
    quick = {"inversion": {"five": {"steps": 2}}, "procedural_heads": few, "mixed_heads": few}
    (workflow.folder / "config/quick.yaml").write_text(yaml.safe_dump(quick), encoding="utf-8")

    walked = steps()
    assert [command.split()[1] for command, _ in walked].count("snakemake") == 4
    for command, printed in walked:
        said = shape(typed(workflow.folder, command, home, workflow.environment() | {"HOME": str(home)}), home)
        expected = ".*".join(re.escape(part.strip()) for part in shape(printed, home).split("…"))
        assert re.search(rf"^{expected}$".replace(r"\ ", r"\s*"), said), f"{command}\nexpected {expected}\nsaid {said}"
