"""What keeps the package easy to find one's way in: sizes, names, one home for each thing."""

import ast
import re
import sys
from collections import defaultdict

from dfml.catalogue import METHODS
from support.repository import ROOT

PACKAGE = ROOT / "src" / "dfml"
MODULES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
LONGEST = 300


def repeated(homes):
    """Names with more than one home."""
    return {name: sorted(places) for name, places in homes.items() if len(places) > 1}


def classes(modules):
    """Every class at the top of a module, by its name."""
    homes = defaultdict(set)
    for place, text in modules.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(place)
    return homes


def test_no_module_is_long():
    assert {place: len(text.splitlines()) for place, text in MODULES.items() if text.count("\n") > LONGEST} == {}


def test_no_two_classes_share_a_name():
    assert repeated(classes(MODULES)) == {}
    assert repeated(classes({"a.py": "class Cell: ...", "b.py": "class Cell: ..."})) == {"Cell": ["a.py", "b.py"]}


def test_no_module_is_called_as_one_of_the_standard_library():
    names = {place: place.removesuffix("/__init__.py").removesuffix(".py").split("/")[-1] for place in MODULES}
    assert {place for place, name in names.items() if name in sys.stdlib_module_names} == set()


def decides_by_a_part_of_a_name(text):
    prefixes = sorted({name.split("_")[0] for name in METHODS if "_" in name})
    called = rf"""(?:startswith|endswith|removeprefix)\([(\s]*f?["'](?:{"|".join(prefixes)})_"""
    return re.search(called, text) is not None


def test_nothing_decides_by_a_part_of_a_methods_name():
    assert decides_by_a_part_of_a_name('method.startswith("supervised_")')
    assert decides_by_a_part_of_a_name("method.startswith(('supervised_', 'purer_'))")
    assert [place for place, text in MODULES.items() if decides_by_a_part_of_a_name(text)] == []
