"""The cache between workflows: opt-in, for zoos, and never another seed's zoo."""

import hashlib

import pytest

from support.workflow import Workflow

pytestmark = pytest.mark.slow
ZOO = "results/{experiment}/zoo/{dataset}/conv4/seed{seed}/{name}"
PLACES = [("icons_colour", 0), ("icons_colour", 1), ("icons", 0)]


def train(folder, experiment, cache):
    """A new workflow that trains the zoos of two seeds and of two data sets made of one file."""
    workflow = Workflow.copied_to(folder)
    (workflow.folder / "config/smoke.yaml").replace(workflow.folder / "config/config.yaml")
    workflow.configure(
        experiment=experiment,
        seeds=[0, 1],
        methods=["zoo_features"],
        datasets={"icons": {"source": "embedded"}},
        pools={"single": {"datasets": ["icons_colour", "icons"]}, "multi_architecture": {"methods": []}},
        zoo={"models": 2, "epochs": 1},
    )
    cache.mkdir(exist_ok=True)
    run = workflow.snakemake(
        "--cache", "train_zoo", "--until", "train_zoo", "--cores", "2", SNAKEMAKE_OUTPUT_CACHE=str(cache)
    )
    assert run.status == 0, run.output
    return workflow.folder


def digest(folder, experiment, dataset, seed):
    path = folder / ZOO.format(experiment=experiment, dataset=dataset, seed=seed, name="zoo.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trained(folder, experiment):
    """How many zoos were really trained there: such a job leaves a receipt."""
    return len(list((folder / "results" / experiment / "receipts/train_zoo").rglob("*.json")))


def test_another_experiment_gets_its_zoos_from_the_cache_and_each_its_own(tmp_path):
    cache = tmp_path / "cache"
    first = train(tmp_path / "first", "one", cache)
    second = train(tmp_path / "second", "two", cache)
    assert (trained(first, "one"), trained(second, "two")) == (4, 0)
    made = [digest(first, "one", *place) for place in PLACES]
    assert len(set(made)) == len(PLACES)
    assert [digest(second, "two", *place) for place in PLACES] == made
