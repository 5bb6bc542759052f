"""A method in a file of the user's own: how it is loaded, and what is said when it is wrong."""

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


def test_a_file_of_another_kind_is_refused(zoo, tmp_path):
    with pytest.raises(DfmlError, match="is not a Python file"):
        run(tmp_path, zoo, GOOD, name="mine.txt")


def test_an_error_inside_fit_keeps_its_traceback(zoo, tmp_path):
    with pytest.raises(KeyError, match="deep"):
        run(tmp_path, zoo, "def fit(context): return {}['deep']")


def test_the_wall_stands_while_the_file_is_imported(zoo, images, tmp_path):
    with data_free_wall([images]), pytest.raises(WallError):
        run(tmp_path, zoo, f"open({str(images / 'images.json')!r})")
