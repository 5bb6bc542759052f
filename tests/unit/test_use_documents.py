"""What README.md, docs/use_the_learner.md and the example say about using a learner runs as it stands there."""

import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from dfml.cli.main import main
from support.learners import one_thread  # noqa: F401 - an autouse fixture
from support.markdown import read_markdown
from support.repository import ROOT
from support.use import photos, save_photos, shelf_learner

LEARNER = "results/demo/metalearning/single/free_heads/1shot/seed0"
GUIDE, README = ROOT / "docs" / "use_the_learner.md", ROOT / "README.md"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home with photos of two classes and a learner where the documents have one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shelf_learner(Path(LEARNER), method="free_heads")
    save_photos(tmp_path / "photos", photos(5), ["ant", "bee", "cat", "dog", "eel"])
    (tmp_path / "new").mkdir()
    for name in ("new/who.jpg", "new/what.png", "rex.jpg", "tom.jpg", "who.jpg"):
        shutil.copy(tmp_path / "photos/cat/00.png", tmp_path / name)
    return tmp_path


def blocks(path, language):
    return [
        block.text for block in read_markdown(path.read_text(encoding="utf-8")).blocks if block.language == language
    ]


def test_the_commands_of_the_guide_run(home, capsys):
    commands = "\n".join(blocks(GUIDE, "sh")).splitlines()
    assert [shlex.split(line)[2] for line in commands] == ["adapt", "predict", "predict", "evaluate"]
    for line in commands:
        assert line.startswith("./run.sh dfml ")
        assert main([word.replace("~", str(home), 1) for word in shlex.split(line)[2:]]) == 0, line
    said = capsys.readouterr().out
    assert f"{home}/pets.safetensors: 5 classes from 60 photos" in said
    assert f"{home}/new/who.jpg" in said
    assert "2-way 1-shot, 4 queries per class, 100 episodes" in said


def test_the_python_of_the_guide_runs(home, capsys):
    code = "\n".join(blocks(GUIDE, "python"))
    exec(compile(code, str(GUIDE), "exec"), {})
    assert "'ant'" in capsys.readouterr().out
    assert (home / "pets.safetensors").is_file() and (home / "pets.pt2").is_file()


def test_the_python_of_the_readme_runs(capsys):
    code = blocks(README, "python")[0]
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out.strip() in ("dog", "cat")


def test_the_example_runs(home, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["use_the_learner.py", LEARNER, "~/photos"])
    runpy.run_path(str(ROOT / "examples" / "use_the_learner.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "of 35 photos of 5 classes are answered rightly" in said
    assert "Reloaded, the first answer is" in said


def test_the_example_says_what_it_wants(monkeypatch):
    monkeypatch.setattr("sys.argv", ["use_the_learner.py"])
    with pytest.raises(SystemExit, match="LEARNER PHOTOS"):
        runpy.run_path(str(ROOT / "examples" / "use_the_learner.py"), run_name="__main__")
