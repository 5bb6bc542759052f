"""What lies beside a file of the user's own is importable while it runs, and unknown afterwards."""

import importlib
import sys

import pytest

from dfml.files.user_code import importable


@pytest.fixture
def folders(tmp_path):
    """Two folders with a module of one name, the first with an environment below it."""
    for name in ("left", "right"):
        (tmp_path / name / "environment").mkdir(parents=True)
        (tmp_path / name / "beside_it.py").write_text(f"WHERE = {name!r}\n", encoding="utf-8")
    (tmp_path / "left/environment/installed_one.py").write_text("", encoding="utf-8")
    return tmp_path / "left", tmp_path / "right"


def test_each_folder_has_its_own_module_and_keeps_it(folders):
    left, right = folders
    found = []
    for folder in (left, right, left):
        with importable(folder):
            found.append(importlib.import_module("beside_it"))
        assert "beside_it" not in sys.modules and str(folder) not in sys.path
    assert [module.WHERE for module in found] == ["left", "right", "left"]
    assert found[0] is found[2]


def test_a_block_within_another_one_leaves_what_that_has_imported(folders):
    left, _ = folders
    with importable(left):
        outer = importlib.import_module("beside_it")
        with importable(left):
            assert importlib.import_module("beside_it") is outer
        assert importlib.import_module("beside_it") is outer


def test_what_is_installed_below_the_folder_stays_known(folders, monkeypatch):
    left, _ = folders
    monkeypatch.syspath_prepend(str(left / "environment"))
    with importable(left):
        importlib.import_module("installed_one")
    assert sys.modules.pop("installed_one").__file__.startswith(str(left))
