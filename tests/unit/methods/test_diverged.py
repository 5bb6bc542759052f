"""A learner or a zoo that diverges is refused when it is made: which one, when, and what to lower."""

import re

import pytest

from dfml.errors import DfmlError
from dfml.zoo.settings import OptimiserSettings
from support.cells import REPLAY, fit_cell, free_options, supervised_options
from support.zoo import train_tiny_zoo

NAN = """
from dfml.methods.base import Fitted, Snapshot, without_statistics

def fit(context):
    state = without_statistics(context.pool[0].module)
    state["head.bias"][0] = float("{value}")
    return Fitted.of_learner(context, [Snapshot(7, 0.0, [state])])
"""


def diverging(method, images, zoo):
    """Options with which a method diverges, and what it is given beside them."""
    huge = 1e38
    if method.startswith("supervised"):
        options = supervised_options(learning_rate=huge, iterations=6, snapshots=2)
        return options, {"images": [images], "zoos": []}
    return free_options(replay=REPLAY | {"mode": "fixed", "learning_rate": huge}), {"zoos": [zoo]}


@pytest.mark.parametrize(
    ("method", "key", "where"),
    [
        ("supervised_maml", "learning_rate", "the section of `supervised_maml`"),
        ("supervised_anil", "learning_rate", "the section of `supervised_anil`"),
        ("supervised_maml-fast", "learning_rate", "`variants.supervised_maml-fast`"),
        ("free", "replay.learning_rate", "the section of `free`"),
    ],
)
def test_a_diverged_learner_is_refused_with_what_to_lower(images, zoo, tmp_path, method, key, where):
    options, given = diverging(method, images, zoo)
    with pytest.raises(DfmlError) as caught:
        fit_cell(tmp_path / "learner", method, options, **given)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{method}: ") and "not finite" in line and f"`{key}`" in line
    assert line.endswith(f" in {where}")
    assert {file.name for file in (tmp_path / "learner").glob("*")} <= {"history.csv"}
    if method.startswith("supervised"):
        assert re.search(r"at iteration [1-6];", line) and f"`{key}` (1e+38)" in line


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_so_is_one_of_a_method_without_a_loop(zoo, tmp_path, value):
    file = tmp_path / "mine.py"
    file.write_text(NAN.format(value=value), encoding="utf-8")
    with pytest.raises(DfmlError, match=r"^mine: .* not finite at iteration 7; it has no learning rate of its own"):
        fit_cell(tmp_path / "learner", "mine", {}, zoos=[zoo], inversion_settings=None, fit=file)
    assert {file.name for file in (tmp_path / "learner").glob("*")} <= {"history.csv"}


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_a_diverged_zoo_is_refused_with_what_to_lower(images, tmp_path, optimiser, rate):
    settings = OptimiserSettings(optimiser=optimiser, learning_rate=rate)
    with pytest.raises(
        DfmlError, match=r"^zoo toy/conv4 model 0 of seed 0 .*lower `zoo\.conv4\.learning_rate` \(1e\+3"
    ):
        train_tiny_zoo(images / "meta_train.npz", tmp_path / "zoo", conv4=settings, checkpoint="last")
    assert not list((tmp_path / "zoo").glob("zoo.*"))
