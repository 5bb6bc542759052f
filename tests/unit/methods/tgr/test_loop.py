"""TGR: it learns from every model, on mixed pools, and continues to the same bits wherever it was interrupted."""

import json

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.config.load import load_config
from dfml.errors import ConfigError, DfmlError
from dfml.inversion.per_model import FromScratch
from dfml.inversion.settings import PerModelSettings
from dfml.methods.tgr import embedding as tgr_embedding
from dfml.methods.tgr.embedding import embed, make_probe
from dfml.methods.tgr.loop import TgrLoop, fit
from dfml.methods.tgr.settings import TgrSettings
from dfml.zoo.pool import Pool
from support.cells import INVERSION, REPLAY, InterruptedJobError, InterruptedProgress, context, fit_cell
from support.inversion import objective
from support.zoo import CPU, SIDE, WAYS, same_bits, write_random_zoo

SMALL = {"iterations": 3, "embedding_batches": 2, "inversion_steps": 2, "groups": 2, "models_per_iteration": 2}


def options(**changes):
    section = SMALL | {"snapshots": 2, "replay": REPLAY | {"mode": "fixed"}}
    return TgrSettings(**(section | changes)).model_dump(mode="json")


def fitted(pool, **changes):
    return fit(context("tgr", pool=pool, options=options(**changes)))


def embedded(pool, **changes):
    cell = context("tgr", pool=pool, options=options(**changes))
    settings = cell.own(TgrSettings)
    loop = TgrLoop(cell, settings)
    return embed(cell, settings, loop.recover, loop.bank), loop.bank


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two data sets of different sides, two networks on one of them."""
    root = tmp_path_factory.mktemp("mixed")
    zoos = [
        write_random_zoo(root / "a", models=2),
        write_random_zoo(root / "b", models=2, family="resnet10", architecture="resnet10", seed=1),
        write_random_zoo(root / "c", models=2, dataset="other", side=2 * SIDE, seed=2),
    ]
    return Pool.load(zoos, label_space="global", device=CPU)


@pytest.mark.parametrize(("augment", "per_sample"), [("per_sample", True), ("per_batch", False)])
def test_its_inversions_are_augmented_as_its_sets_are(pool, augment, per_sample):
    cell = context("tgr", pool=pool, options=options(augment=augment))
    loop = TgrLoop(cell, cell.own(TgrSettings))
    assert loop.views.per_sample == loop.recover.objective.views.per_sample == per_sample


def test_it_learns_and_counts_what_it_asked(pool):
    result = fitted(pool)
    states = [snapshot.states[0] for snapshot in result.snapshots]
    assert [snapshot.iteration for snapshot in result.snapshots] == [0, 2, 3]
    assert all(torch.isfinite(value).all() for value in states[-1].values())
    assert not torch.equal(states[0]["head.weight"], states[-1]["head.weight"])
    assert result.teacher_passes == 4 * 2 * 2 + 3 * 2 * (2 + 1)
    assert result.train_episodes == 3 * 2 * 2
    assert result.stages.keys() == {"embedding", "inversion", "regularisation", "replay"}
    rows = result.history
    assert [row["iteration"] for row in rows] == [0] * 5 + [1, 2, 3]
    assert 0 <= rows[4]["similarity_min"] <= rows[4]["similarity_mean"] <= rows[4]["similarity_max"] <= 1
    assert all(row["disagreement"] > 0 for row in rows[5:])
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_images_of_the_embedding_fill_the_bank(pool):
    found, bank = embedded(pool)
    last = {label: model.index for model in pool for label in model.class_ids}
    assert all(index in bank.sources[label] for label, index in last.items())
    asked = sum(len(model.class_ids) for model in pool) * 2
    assert bank.written.sum() == asked
    assert found.similarity.shape == (4, 4)


@pytest.mark.parametrize(
    ("probe", "fisher"),
    [
        ("meta_learner", "per_sample"),
        ("meta_learner", "squared_mean"),
        ("self", "per_sample"),
        ("self", "squared_mean"),
        ("random_r34", "squared_mean"),
    ],
)
def test_every_probe_tells_models_apart(pool, probe, fisher):
    found, _ = embedded(pool, probe=probe, fisher=fisher, embedding_batches=1)
    likeness = found.similarity
    assert torch.equal(likeness, likeness.T)
    assert torch.equal(likeness.diagonal(), torch.ones(4, dtype=likeness.dtype))
    assert 0 < likeness.min() < 0.98
    passes = 4 * 2 + (4 * (5 if fisher == "squared_mean" else 1) if probe == "self" else 0)
    assert found.teacher_passes == passes


def test_a_probe_from_a_head_of_zeros_is_sensitive_all_over(pool):
    cell = context("tgr", pool=pool)
    probe = make_probe(cell, TgrSettings(start="best_model"))
    state = probe.network.state_dict()
    assert state["head.weight"].abs().max() > 0
    assert torch.equal(state["blocks.0.weight"], pool.best(1)[0].network.state_dict()["blocks.0.weight"])


def test_networks_and_sides_may_differ(mixed):
    result = fitted(mixed, embedding_batches=1, iterations=2)
    assert all(torch.isfinite(value).all() for value in result.snapshots[-1].states[0].values())


def test_self_is_refused_where_networks_differ(mixed):
    with pytest.raises(DfmlError, match=r"tgr\.probe"):
        fitted(mixed, probe="self")


def test_imagenet_needs_its_weights(pool, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("methods: [tgr]\ntgr: {probe: imagenet_r34}\n")
    with pytest.raises(ConfigError, match=r"tgr\.probe_weights"):
        load_config([path])
    with pytest.raises(DfmlError, match=r"tgr\.probe_weights"):
        fitted(pool, probe="imagenet_r34", probe_weights=str(tmp_path / "none.safetensors"))


def test_a_loss_that_is_not_finite_ends_the_run(pool):
    with pytest.raises(DfmlError, match=r"tgr\.displacement"):
        fitted(pool, displacement=1e30, replay=REPLAY | {"max_outer": 0})


@pytest.mark.parametrize("group_models", ["all", "first_100"])
def test_only_the_published_code_leaves_models_out(pool, monkeypatch, group_models):
    monkeypatch.setattr("dfml.methods.tgr.grouping.OFFICIAL_MODELS", 3)
    found, bank = embedded(pool, group_models=group_models, embedding_batches=1)
    count = 4 if group_models == "all" else 3
    assert found.similarity.shape == (count, count)
    assert bank.written.sum() == count * WAYS


def test_the_generator_goes_on_from_batch_to_batch(pool):
    settings = INVERSION.model_copy(update={"per_model": PerModelSettings(learning_rate=0.005)})
    recover = FromScratch(settings, objective(), side=SIDE, device=CPU, steps=40)
    sets = list(recover.batches(pool[0], 3, torch_generator(0, "a")))
    (again,) = recover.batches(pool[0], 1, torch_generator(0, "a"))
    assert same_bits(sets[0].images, again.images)
    assert not torch.equal(sets[0].images, sets[1].images)
    # From its new latents a generator that has learned the task gets further in a few steps.
    first, _, third = (item.curve for item in sets)
    assert third[5] < first[5] - 0.05
    assert third[-1] < first[-1]


ALL = 4 + 3  # models that are embedded, then iterations


@pytest.mark.parametrize(("done", "every"), [(1, 1), (3, 2), (4, 1), (5, 1), (6, 1), (6, 2)])
def test_an_interrupted_stage_reaches_the_same_bits(zoo, tmp_path, done, every):
    def run(name, **changes):
        return fit_cell(tmp_path / name, "tgr", options(), zoos=[zoo], every=every, **changes)

    whole = run("whole")
    with pytest.raises(InterruptedJobError):
        run("resumed", progress=InterruptedProgress(done))
    resumed = run("resumed", progress=InterruptedProgress(ALL - (min(done, 4) + max(done - 4, 0) // every * every)))
    weights = [(folder / "learner.safetensors").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]
    manifests = [json.loads((folder / "learner.json").read_text()) for folder in (whole, resumed)]
    assert manifests[0]["teacher_passes"] == manifests[1]["teacher_passes"]
    lines = [[row.split(",") for row in (f / "history.csv").read_text().splitlines()] for f in (whole, resumed)]
    column = lines[0][0].index("seconds")
    for rows in lines:
        for row in rows:
            del row[column]
    assert lines[0] == lines[1]
    assert not list(tmp_path.glob("*.resume"))


def test_a_missing_embedding_starts_the_stage_afresh(pool, tmp_path):
    def run(progress=None):
        cell = context("tgr", pool=pool, options=options(), resume=tmp_path / "tgr.resume", progress=progress)
        settings = cell.own(TgrSettings)
        loop = TgrLoop(cell, settings)
        return cell, embed(cell, settings, loop.recover, loop.bank)

    with pytest.raises(InterruptedJobError):
        run(InterruptedProgress(2))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    (tmp_path / "tgr.embedding0.resume").unlink()
    _, found = run()
    assert len(found.history) == 5
    assert torch.equal(found.similarity, embedded(pool)[0].similarity)
    assert [path.name for path in tmp_path.iterdir()] == ["tgr.embedding.resume"]


def test_compared_models_are_not_embedded_again(pool, tmp_path, monkeypatch):
    cell = context("tgr", pool=pool, options=options(), resume=tmp_path / "tgr.resume")
    settings = cell.own(TgrSettings)
    loop = TgrLoop(cell, settings)
    first = embed(cell, settings, loop.recover, loop.bank)
    monkeypatch.setattr(tgr_embedding, "fisher_diagonal", None)
    other = TgrLoop(cell, settings)
    second = embed(cell, settings, other.recover, other.bank)
    assert torch.equal(first.similarity, second.similarity)
    assert torch.equal(loop.bank.pixels, other.bank.pixels)
