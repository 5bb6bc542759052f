"""Digests of code."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import dfml
from dfml.errors import DfmlError
from dfml.jobs.code_digest import code_digest, file_digest, missing_imports

FILES = {
    "__init__.py": "",
    "errors.py": "class Error(Exception): pass",
    "zoo/__init__.py": "",
    "zoo/train.py": '''
        """Trains."""
        import json
        from typing import TYPE_CHECKING
        from pkg.zoo import store          # a module of the package
        from ..errors import Error         # relative
        if TYPE_CHECKING:
            from pkg.unrelated import Thing
        else:
            from pkg import runtime_only
        class Trainer:
            """Documented."""
            rate: float = 0.1
            """An attribute."""
            def fit(self):
                """Fits."""
                import pkg.late            # inside a function
                from importlib import import_module
                return import_module("pkg.named")
    ''',
    "zoo/store.py": "from . import sibling",
    "zoo/sibling.py": "import pkg.zoo.train  # a cycle",
    "late.py": "x = 1",
    "named.py": "x = 1",
    "runtime_only.py": "x = 1",
    "unrelated.py": "class Thing: pass",
}
FOLLOWED = set(FILES) - {"unrelated.py"}


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "pkg"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix("        ") for line in text.splitlines()) + "\n")
    return root


@pytest.mark.parametrize("name", FILES)
def test_a_change_counts_exactly_where_it_is_imported(package, name):
    before = code_digest("pkg.zoo.train", package)
    with (package / name).open("a") as stream:
        stream.write("changed = True\n")
    assert (code_digest("pkg.zoo.train", package) != before) == (name in FOLLOWED)


def test_comments_docstrings_and_layout_do_not_count(package):
    path = package / "zoo" / "train.py"
    before = code_digest("pkg.zoo.train", package)
    text = path.read_text()
    for old, new in [
        ('"""Trains."""', '# A comment\n"""Trains\n\nwell."""\n\n'),
        ('"""Documented."""', '"""Other."""'),
        ('    """An attribute."""\n', ""),
        ('"""Fits."""', "'single quotes'"),
        ("0.1", "(0.1)"),
    ]:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    assert code_digest("pkg.zoo.train", package) == before
    path.write_text(text.replace("0.1", "0.2"))
    assert code_digest("pkg.zoo.train", package) != before


def test_a_string_that_is_a_value_counts(package):
    (package / "late.py").write_text("x = 'one'\n")
    before = code_digest("pkg.late", package)
    (package / "late.py").write_text("x = 'two'\n")
    assert code_digest("pkg.late", package) != before


def test_a_module_that_appears_counts(package):
    (package / "late.py").write_text("from pkg import extra\n")
    before = code_digest("pkg.late", package)
    (package / "extra.py").write_text("")
    assert code_digest("pkg.late", package) != before


def test_the_place_of_the_package_does_not_count(package, tmp_path):
    before = code_digest("pkg.zoo.train", package)
    moved = tmp_path / "elsewhere" / "pkg"
    moved.parent.mkdir()
    package.rename(moved)
    assert code_digest("pkg.zoo.train", moved) == before


@pytest.mark.parametrize("module", ["pkg.nothing", "other.zoo", "zoo.train", ""])
def test_an_unknown_module_is_an_error(package, module):
    with pytest.raises(DfmlError, match="no module"):
        code_digest(module, package)


def test_a_workflow_can_afford_it_and_needs_no_torch():
    code = """
import sys, time
from pathlib import Path
from dfml.jobs.code_digest import code_digest
from dfml.jobs.code_digest import file_digest
root = Path(sys.argv[1])
code_digest("dfml.jobs.job", root)
start = time.perf_counter()
for _ in range(10):
    code_digest("dfml.jobs.job", root)
assert time.perf_counter() - start < 0.5
assert not {"torch", "numpy", "pydantic", "rich"} & set(sys.modules)
"""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, Path(dfml.__file__).parent], check=True)
    assert time.perf_counter() - start < 10


def test_a_file_outside_counts_with_what_it_imports_from_the_package(package, tmp_path):
    file = tmp_path / "mine.py"
    code = "from pkg.zoo import store\n\ndef fit(x):\n    return store\n"
    file.write_text(code)
    before = file_digest(file, package)

    def after(text):
        file.write_text(text)
        return file_digest(file, package)

    assert after(f'"""Documented."""\n# a remark\n{code}') == before
    assert after(code.replace("fit(x)", "fit(y)")) != before
    assert after(code) == before
    for name, counts in (("late.py", True), ("unrelated.py", False)):
        (package / name).write_text((package / name).read_text() + "changed = 1\n")
        assert (after(code) != before) == counts
        before = after(code)
    other = tmp_path / "other.py"
    other.write_text(code)
    assert file_digest(other, package) == before  # its name and place do not count


BESIDE = {
    "helper.py": "def pick(pool):\n    return pool\n",
    "deep.py": "from tools.inner import part\n",
    "tools/__init__.py": "",
    "tools/inner.py": "from .near import part\nimport pkg.zoo.store\n",
    "tools/near.py": "part = 1\n",
    "plain/module.py": "value = 1\n",
    "late.py": "value = 1\n",
    "unused.py": "value = 1\n",
}
MINE = """
import helper
from deep import part
from plain import module
import importlib

def fit(x):
    import late
    return importlib.import_module("helper")
"""


@pytest.fixture
def mine(tmp_path):
    """A file of a user's own with others beside it."""
    for name, text in {**BESIDE, "mine.py": MINE}.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "own" / "mine.py"


@pytest.mark.parametrize("name", BESIDE)
def test_what_it_imports_from_its_own_folder_counts(package, mine, name):
    before = file_digest(mine, package)
    changed = mine.parent / name
    changed.write_text(f'"""A remark."""\n# more\n{BESIDE[name]}')
    assert file_digest(mine, package) == before
    changed.write_text(f"{BESIDE[name]}changed = 1\n")
    assert (file_digest(mine, package) != before) == (name != "unused.py")


def test_so_does_the_package_behind_that(package, mine):
    before = file_digest(mine, package)
    store = package / "zoo/store.py"
    store.write_text(store.read_text() + "changed = 1\n")
    assert file_digest(mine, package) != before


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("mine.py", "import helpers", "helpers in mine.py"),
        ("helper.py", "from nowhere.at_all import x", "nowhere.at_all in helper.py"),
        ("tools/inner.py", "import pkg.zoos", "pkg.zoos in inner.py"),
        ("deep.py", "import json, absent.part", "absent.part in deep.py"),
    ],
)
def test_imports_that_lead_nowhere_are_found_before_anything_runs(package, mine, name, line, said):
    assert list(missing_imports(mine, package)) == []
    path = mine.parent / name
    path.write_text(f"{line}\n{path.read_text()}")
    assert list(missing_imports(mine, package)) == [said]


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    import absent\nexcept ImportError:\n    absent = None\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import absent\n",
        "def fit(x):\n    import absent\n",
        "import os.path, numpy.linalg, importlib.util\nfrom . import absent\n",
    ],
)
def test_imports_that_may_never_run_or_are_installed_are_not_missed(package, mine, text):
    mine.write_text(text)
    assert list(missing_imports(mine, package)) == []
