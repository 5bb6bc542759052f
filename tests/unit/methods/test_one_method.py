"""examples/one_method.py: a method runs, is measured and can be used without the workflow."""

import re
import runpy
import subprocess
import sys

import pytest
import yaml

import dfml
from dfml.data.images import SPLITS, save_images
from dfml.errors import DfmlError
from support.repository import ROOT
from support.zoo import SIDE, pattern_images, write_random_zoo

TWIN = """
from dfml.methods.base import Context, Fitted, Snapshot, without_statistics


def fit(context: Context) -> Fitted:
    pair = context.pool.best(2)
    mean, std = context.pool.normalisation
    states = [without_statistics(model.module) for model in pair]
    return Fitted([model.spec for model in pair], [Snapshot(0, 0.0, states)], mean, std, finetune=False)
"""


@pytest.fixture
def run(tmp_path):
    """Runs the example on a zoo of random models; returns what its process left."""
    images = {split: pattern_images(split=split, per_class=6) for split in SPLITS}
    save_images(tmp_path / "images", images, source="folder")
    write_random_zoo(tmp_path / "zoo", models=3)
    (tmp_path / "twin.py").write_text(TWIN)
    settings = {
        "ways": 3,
        "evaluation": {"episodes": 5, "queries": 3, "adaptation_steps": 2},
        "supervised_maml": {"queries": 2},
        "free": {"replay": {"queries": 1}},
        "procedural_heads": {"questions": 40, "steps": 2},
        "custom_methods": {"twin": str(tmp_path / "twin.py")},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))

    def call(method):
        places = [tmp_path / "zoo", tmp_path / "images", method, tmp_path / method, tmp_path / "mine.yaml"]
        command = [sys.executable, "examples/one_method.py", *map(str, places)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    return call


@pytest.mark.parametrize(("method", "rules"), [("procedural_heads", 3), ("twin", 2)])
def test_a_method_is_fitted_and_measured(run, tmp_path, method, rules):
    done = run(method)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\w+), (\w+): ([\d.]+) ± [\d.]+ %$", done.stdout, re.MULTILINE)
    assert len(found) == 2 * rules
    assert all(0 < float(percent) <= 100 for _, _, percent in found)
    learner = dfml.load(tmp_path / method)
    answer = learner.adapt(pattern_images().images[0][:2], ["one", "two"])
    assert answer(pattern_images().images[0][0]).name in ("one", "two")
    assert learner.side in (None, SIDE)


def test_what_begins_with_other_jobs_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    main = runpy.run_path("examples/one_method.py")["main"]
    with pytest.raises(DfmlError, match=r"^free begins with what other jobs make; run it with snakemake$"):
        main(tmp_path / "zoo", tmp_path / "images", "free", tmp_path / "learner")
