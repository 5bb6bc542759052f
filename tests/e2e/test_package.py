"""What ``pip install .`` gives: a package that loads and uses a learner, without the workflow."""

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dfml
from support.repository import ROOT
from support.use import photos, save_photos, shelf_learner

UV = ROOT / ".uv/bin/uv"
USE = """
import json, sys
import dfml

learner = dfml.load(sys.argv[1])
classify = learner.adapt(sys.argv[2:6], ["ant", "ant", "bee", "bee"])
classify.save("pets.safetensors")
again = dfml.load_classifier("pets.safetensors")
answers = [list(again(photo).probabilities.items()) for photo in sys.argv[2:6]]
workflow = [name for name in ("snakemake", "dvc") if name in sys.modules]
print(json.dumps({"answers": answers, "where": dfml.__file__, "workflow": workflow}))
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not UV.exists(), reason="run.sh has not put uv into .uv")]


def runtime_dependencies(
    name: str = "dfml", extras: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """All that a distribution depends on here, by canonical name, with the extras that are asked for."""
    for text in requires(name) or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield canonicalize_name(one.name), frozenset(one.extras)


def closure() -> set[str]:
    """Names of the distributions that dfml needs when it runs, down to the last."""
    seen: set[tuple[str, frozenset[str]]] = set()
    open_ = [("dfml", frozenset[str]())]
    while open_:
        found = open_.pop()
        if found not in seen:
            seen.add(found)
            open_ += runtime_dependencies(*found)
    return {name for name, _ in seen} - {"dfml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy, since building leaves folders behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=unwanted)
    build = [UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", ROOT / ".venv/bin/python", folder]
    subprocess.run(build, check=True)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An environment of its own with the wheel and the locked runtime dependencies, linked from uv's cache."""
    folder = tmp_path_factory.mktemp("installed")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)[1:]
    wanted = closure()
    kept = [entry for entry in entries if canonicalize_name(entry.partition("==")[0]) in wanted]
    (folder / "requirements.txt").write_text("".join(kept), encoding="utf-8")
    own = folder / "env/bin/python"
    link = ["--link-mode", "symlink", "--python", own]
    subprocess.run([UV, "venv", "-q", "--python", ROOT / ".venv/bin/python", folder / "env"], check=True)
    subprocess.run([UV, "pip", "sync", "-q", *link, "--require-hashes", folder / "requirements.txt"], check=True)
    subprocess.run([UV, "pip", "install", "-q", *link, "--no-deps", wheel], check=True)
    return own


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder with a learner and photos, outside the repository."""
    shelf_learner(tmp_path / "learner", method="free_heads")
    save_photos(tmp_path / "photos", photos(2), ["ant", "bee"])
    return tmp_path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("dfml-")}
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/dfml").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == package


def test_it_loads_and_uses_a_learner_without_the_workflow(python, home):
    shown = [str(path) for name in ("ant", "bee") for path in sorted((home / "photos" / name).iterdir())[:2]]
    command = [python, "-I", "-W", "error", "-c", USE, str(home / "learner"), *shown]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    classify = dfml.load(home / "learner").adapt(shown, ["ant", "ant", "bee", "bee"])
    expected = [pytest.approx(classify(photo).probabilities) for photo in shown]
    assert [dict(answer) for answer in said["answers"]] == expected
    assert Path(said["where"]).is_relative_to(python.parents[1])
    assert said["workflow"] == []


def test_its_command_adapts_and_predicts_and_asks_for_a_repository_where_it_needs_one(python, home):
    def dfml(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python.with_name("dfml"), *arguments]
        return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)

    adapted = dfml("adapt", "learner", "photos", "-o", "pets.safetensors")
    assert adapted.returncode == 0, adapted.stderr
    answered = dfml("predict", "pets.safetensors", "photos/bee/00.png", "--csv")
    assert answered.returncode == 0 and ",bee," in answered.stdout
    refused = dfml("verify")
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1


def test_what_is_installed_is_no_tool_for_development(python):
    listed = subprocess.run(
        [UV, "pip", "list", "-q", "--python", python, "--format", "json"], capture_output=True, check=True
    )
    names = {canonicalize_name(one["name"]) for one in json.loads(listed.stdout)}
    assert {"dfml", "torch"} <= names and not names & {"pytest", "ruff", "mypy", "mkdocs"}
    assert version("dfml") in [one["version"] for one in json.loads(listed.stdout) if one["name"] == "dfml"]
