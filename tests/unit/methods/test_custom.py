"""A method in a file of the user's own: how it is loaded, and what is said when it is wrong."""

import sys

import pytest

from dfml.errors import DfmlError
from dfml.jobs.wall import WallError, data_free_wall
from support.cells import fit_cell

GOOD = """
from __future__ import annotations

from dataclasses import dataclass

from dfml.methods.base import Fitted, Snapshot, without_statistics


@dataclass
class Choice:
    number: int


def fit(context):
    model = context.pool[Choice(0).number]
    assert context.options == {}
    return Fitted.of_learner(context, [Snapshot(0, 0.0, [without_statistics(model.module)])])
"""


def run(tmp_path, zoo, code, name="mine.py"):
    file = tmp_path / name
    file.write_text(code, encoding="utf-8")
    return fit_cell(tmp_path / "learner", "mine", {}, zoos=[zoo], inversion_settings=None, fit=file)


def test_its_learner_is_written(zoo, tmp_path):
    assert (run(tmp_path, zoo, GOOD) / "learner.safetensors").stat().st_size > 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nothing_of_the_kind",
            "cannot be imported (ModuleNotFoundError: No module named 'nothing_of_the_kind')",
        ),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("def fitt(context): ...", "has no function `fit`; it needs a function `fit(context)` that returns"),
        ("fit = 3", "has no function `fit`"),
        ("def fit(context): ...", "returned NoneType; it needs a function `fit(context)` that returns"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(zoo, tmp_path, code, said):
    with pytest.raises(DfmlError) as caught:
        run(tmp_path, zoo, code)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("custom_methods.mine: ") and said in line and str(tmp_path / "mine.py") in line
    assert not (tmp_path / "learner").exists()


BESIDE = {
    "a module": {"own_helper_a.py": "def pick(pool):\n    return pool[0]\n"},
    "a package": {
        "own_helper_b/__init__.py": "from own_helper_b.inner import pick\n",
        "own_helper_b/inner.py": "def pick(pool):\n    return pool[0]\n",
    },
    "a chain": {
        "own_helper_c.py": "from own_helper_d import pick\n",
        "own_helper_d.py": "def pick(pool):\n    return pool[0]\n",
    },
}


@pytest.mark.parametrize("late", [False, True], ids=["at its top", "in fit"])
@pytest.mark.parametrize("files", BESIDE)
def test_it_may_import_what_lies_beside_it(zoo, tmp_path, monkeypatch, files, late):
    for name, text in BESIDE[files].items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    first = next(iter(BESIDE[files])).split("/")[0].removesuffix(".py")
    line = f"from {first} import pick"
    code = GOOD.replace("context.pool[Choice(0).number]", "pick(context.pool)")
    code = code.replace("    model =", f"    {line}\n    model =") if late else f"{code}\n\n{line}\n"
    before = list(sys.path)
    loaded = set(sys.modules)
    assert (run(tmp_path, zoo, code) / "learner.safetensors").is_file()
    assert sys.path == before
    for name in set(sys.modules) - loaded:
        if name.startswith("own_helper"):
            monkeypatch.delitem(sys.modules, name)


def test_a_file_of_another_kind_is_refused(zoo, tmp_path):
    with pytest.raises(DfmlError, match="is not a Python file"):
        run(tmp_path, zoo, GOOD, name="mine.txt")


def test_an_error_inside_fit_keeps_its_traceback(zoo, tmp_path):
    with pytest.raises(KeyError, match="deep"):
        run(tmp_path, zoo, "def fit(context): return {}['deep']")


def test_the_wall_stands_while_the_file_is_imported(zoo, images, tmp_path):
    with data_free_wall([images]), pytest.raises(WallError):
        run(tmp_path, zoo, f"open({str(images / 'images.json')!r})")
