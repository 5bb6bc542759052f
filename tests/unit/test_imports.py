"""Imports point one way, and what must start quickly does not pay for torch."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest

from support.imports import Package, cycle, read_imports
from support.repository import ROOT

# Each room may import itself, the rooms above its line and, as long as no cycle comes of it, its neighbours.
ORDER = (
    ("errors", "settings", "catalogue", "files", "artefacts"),
    ("compute", "jobs", "imaging"),
    ("data", "networks"),
    ("zoo",),
    ("inversion", "metalearning"),
    ("methods",),
    ("config", "evaluation", "results"),
    ("use",),
    ("cli",),
)
LAYER = {room: number for number, rooms in enumerate(ORDER) for room in rooms}

# Rules, tables and figures start in a moment because none of these imports torch, which takes seconds.
TORCH_FREE = (
    "dfml.cli",
    "dfml.errors",
    "dfml.evaluation.intervals",
    "dfml.settings",
    "dfml.config",
    "dfml.files.atomic",
    "dfml.files.reading",
    "dfml.artefacts",
    "dfml.jobs",
    "dfml.catalogue",
    "dfml.results",
    "dfml.results.stage",
    "dfml.results.tables",
    "dfml.results.figures",
)
TORCH = {"torch", "torchvision", "functorch", "safetensors.torch"}


@pytest.fixture(scope="module")
def package() -> Package:
    return Package.read(ROOT / "src" / "dfml")


def brings_torch(name: str) -> bool:
    return name in TORCH or name.split(".")[0] in TORCH


def test_every_room_has_a_place_in_the_order(package):
    rooms = {package.room(module) for module in package.modules} - {""}
    assert rooms - set(LAYER) == set(), "give new rooms their place in ORDER"


def test_imports_point_one_way(package):
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in package.internal()
        # The package itself is the front door and leads to the last rooms.
        if package.room(found.importer)
        and LAYER.get(package.room(found.imported), 0) > LAYER.get(package.room(found.importer), 0)
    ]
    assert wrong == []


def test_rooms_do_not_form_a_cycle(package):
    edges: dict[str, set[str]] = {}
    for found in package.internal():
        importer, imported = package.room(found.importer), package.room(found.imported)
        if importer != imported:
            edges.setdefault(importer, set()).add(imported)
    assert cycle(edges) is None


def test_modules_do_not_form_a_cycle_when_imported(package):
    edges: dict[str, set[str]] = {}
    for found in package.internal():
        if found.at_import:
            edges.setdefault(found.importer, set()).add(found.imported)
    assert cycle(edges) is None


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_free_module_does_not_load_torch(package, name):
    inside = [module for module in package.modules if module == name or module.startswith(f"{name}.")]
    assert inside, f"{name} is gone: mend TORCH_FREE"
    for module in inside:
        chains = [" -> ".join(chain) for loaded, chain in package.loads(module).items() if brings_torch(loaded)]
        assert chains == []


def test_torch_free_modules_really_import_without_torch():
    code = f"import importlib, sys\nfor name in {TORCH_FREE!r}: importlib.import_module(name)\n"
    code += "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'torchvision')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr


def test_torchvision_is_imported_only_inside_functions(package):
    wrong = [
        f"{found.importer}:{found.line}"
        for found in package.imports
        if found.at_import and found.imported.split(".")[0] == "torchvision"
    ]
    assert wrong == []


def test_rules_of_the_workflow_import_only_what_is_torch_free(package):
    files = [*(ROOT / "workflow").glob("Snakefile"), *(ROOT / "workflow").rglob("*.smk")]
    assert files
    for path in files:
        for line in re.findall(r"^[ \t]*((?:from|import) .+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            for found in read_imports(line.rstrip("( "), path.name, is_package=False, known=package.modules):
                loaded = [found.imported, *package.loads(found.imported)]
                assert not [name for name in loaded if brings_torch(name)], f"{path.name}: {line}"


@pytest.mark.parametrize("room", ["inversion", "metalearning", "networks", "imaging", "compute"])
def test_rooms_behind_the_wall_know_no_real_images(package, room):
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in package.internal()
        if package.room(found.importer) == room and package.room(found.imported) == "data"
    ]
    assert wrong == []


def test_package_does_not_import_snakemake(package):
    assert [found for found in package.imports if found.imported.split(".")[0] == "snakemake"] == []


class TestTheReader:
    """The checks above can fail: the reader sees what they look for."""

    def test_sees_where_an_import_stands(self):
        source = (
            "import torch\n"
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import torchvision\n"
            "try:\n    import pandas\nexcept ImportError:\n    pass\n"
            "def late():\n    from torchvision import datasets\n"
            "class Room:\n    import numpy\n"
        )
        found = [(f.imported, f.at_import) for f in read_imports(source, "dfml.x", is_package=False, known={})]
        assert found == [
            ("torch", True),
            ("typing", True),
            ("torchvision", False),
            ("pandas", True),
            ("torchvision", False),
            ("numpy", True),
        ]

    def test_resolves_relative_imports_and_modules_among_names(self, tmp_path):
        known = {"dfml.zoo.store": tmp_path, "dfml.zoo": tmp_path}
        source = "from . import store\nfrom .store import load\nfrom dfml.zoo import store, nothing\n"
        in_package = [f.imported for f in read_imports(source, "dfml.zoo", is_package=True, known=known)]
        in_module = [f.imported for f in read_imports(source, "dfml.zoo.pool", is_package=False, known=known)]
        assert in_package == in_module == ["dfml.zoo.store", "dfml.zoo.store", "dfml.zoo.store", "dfml.zoo"]

    def test_follows_chains_through_packages(self, tmp_path):
        folder = tmp_path / "house"
        (folder / "deep").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "deep" / "__init__.py").write_text("import torch\n")
        (folder / "deep" / "leaf.py").write_text("")
        (folder / "top.py").write_text("from house.deep.leaf import x\n")
        package = Package.read(folder)
        assert package.loads("house.top")["torch"] == ("house.top", "house.deep.leaf", "torch")
        assert "torch" not in package.loads("house")

    def test_finds_a_cycle(self):
        assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
        assert cycle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_order_names_every_room_once():
    rooms = [room for layer in ORDER for room in layer]
    assert len(rooms) == len(set(rooms))
    assert all(LAYER[above[0]] < LAYER[below[0]] for above, below in pairwise(ORDER))
