"""A pool of zoos: the numbering of classes, and how models are drawn."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfml.artefacts.zoo import MANIFEST, ZooManifest
from dfml.compute.seeds import numpy_rng
from dfml.errors import DfmlError
from dfml.imaging.pixels import normalise
from dfml.zoo.pool import Pool
from dfml.zoo.store import load_zoo
from support.zoo import CPU, MEAN, SIDE, STD, random_model, write_random_zoo

ARCHITECTURES = {"conv4": "conv4", "narrow": "resnet10"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two data sets; the second has two architectures, one of them with fewer models."""
    root = tmp_path_factory.mktemp("zoos")
    return [
        write_random_zoo(root / "a", dataset="apples", models=4),
        write_random_zoo(root / "b", dataset="berries", models=6, classes=9, seed=1),
        write_random_zoo(
            root / "c", dataset="berries", architecture="narrow", family="resnet10", models=3, classes=9, seed=2
        ),
    ]


@pytest.fixture(scope="module", params=["global", "per_model"])
def label_space(request):
    return request.param


@pytest.fixture(scope="module")
def pool(folders):
    return Pool.load(folders, label_space="global", device=CPU)


def test_models_are_those_of_the_zoos_in_order(pool, folders):
    loaded = [network for folder in folders for network in load_zoo(folder, CPU)[1]]
    images = torch.rand(2, 3, SIDE, SIDE)
    assert len(pool) == len(loaded) == 13
    for index, (model, network) in enumerate(zip(pool, loaded, strict=True)):
        assert model.index == index
        inputs = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        assert torch.equal(model.logits(images), network(inputs))
        assert model.spec.family == ARCHITECTURES[model.architecture]


def test_class_ids_are_a_bijection_per_model(folders, label_space):
    pool = Pool.load(folders, label_space=label_space, device=CPU)
    manifests = [ZooManifest.load(folder / MANIFEST) for folder in folders]
    entries = [(manifest, entry) for manifest in manifests for entry in manifest.models]
    for model, (manifest, entry) in zip(pool, entries, strict=True):
        ids = model.classes.tolist()
        assert len(set(ids)) == len(ids) == pool.ways
        assert all(0 <= c < len(pool.class_names) for c in ids)
        names = [pool.class_names[c] for c in ids]
        if label_space == "global":
            assert names == [f"{manifest.dataset}/{manifest.class_names[c]}" for c in entry.classes]
            assert [manifest.class_names.index(name.split("/")[1]) for name in names] == entry.classes
        else:
            prefix = f"{manifest.dataset}/{manifest.architecture}/{entry.index}/"
            assert names == [f"{prefix}{output}" for output in range(pool.ways)]
    assert len(set(pool.class_names)) == len(pool.class_names)


def test_global_labels_are_shared_within_a_data_set_only(pool):
    assert len(pool.class_names) == 8 + 9
    for model in pool:
        low, high = (0, 8) if model.dataset == "apples" else (8, 17)
        assert low <= model.classes.min()
        assert model.classes.max() < high


def test_per_model_labels_are_never_shared(folders):
    pool = Pool.load(folders, label_space="per_model", device=CPU)
    ids = torch.cat([model.classes for model in pool]).tolist()
    assert ids == list(range(13 * pool.ways))
    assert len(pool.class_names) == len(ids)


@settings(deadline=None, max_examples=50)
@given(lists=st.lists(st.permutations(range(8)).map(lambda order: order[:3]), min_size=1, max_size=6))
def test_any_ordered_class_lists_map_there_and_back(lists):
    known = random_model()
    entries = [SimpleNamespace(index=i, classes=c, selection_accuracy=1.0) for i, c in enumerate(lists)]
    facts = {"architecture": "conv4", "network": known.spec, "side": SIDE, "mean": MEAN, "std": STD}
    names = [str(c) for c in range(8)]

    def load(folder, device):
        manifest = SimpleNamespace(dataset=folder.name, class_names=names, models=entries, **facts)
        return manifest, [known.network] * len(lists)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfml.zoo.union.load_zoo", load)
        patch.setattr("dfml.zoo.union.is_imported", lambda folder: False)
        shared = Pool.load([Path("x"), Path("y")], label_space="global", device=CPU)
        own = Pool.load([Path("x"), Path("y")], label_space="per_model", device=CPU)
    for index, model in enumerate(shared):
        offset = 8 * (index // len(lists))
        assert [c - offset for c in model.classes.tolist()] == lists[index % len(lists)]
    assert torch.cat([model.classes for model in own]).tolist() == list(range(2 * 3 * len(lists)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 4}, "second: its models are 4-way, those before it 3-way"),
        ({"side": 32}, "second: its models see toy at 32 pixels, those before it at 16"),
        ({"classes": 9}, "list of toy classes differs from another zoo's"),
    ],
)
def test_zoos_that_do_not_fit_together(tmp_path, options, message):
    first = write_random_zoo(tmp_path / "first", models=1)
    second = write_random_zoo(tmp_path / "second", models=1, **options)
    with pytest.raises(DfmlError, match=message):
        Pool.load([first, second], label_space="global", device=CPU)


def test_a_pool_needs_a_zoo():
    with pytest.raises(DfmlError, match="at least one zoo"):
        Pool.load([], label_space="global", device=CPU)


def test_the_best_models_come_first_ties_by_index():
    accuracies = [50.0, 90.0, 70.0, 90.0]
    pool = Pool([random_model(seed=i, selection_accuracy=a) for i, a in enumerate(accuracies)], ["a", "b", "c"])
    assert [model.index for model in pool.best(3)] == [1, 3, 2]


def test_the_best_models_are_evened_out_over_data_sets():
    told = [("hard", 50.0), ("easy", 99.0), ("easy", 98.0), ("hard", 70.0), ("easy", 99.0), ("hard", 60.0)]
    pool = Pool(
        [random_model(seed=i, dataset=d, selection_accuracy=a) for i, (d, a) in enumerate(told)], ["a", "b", "c"]
    )
    assert [model.index for model in pool.best(6)] == [3, 1, 5, 4, 0, 2]
    assert [model.index for model in pool.best(2)] == [3, 1]


def test_normalisation_averages_the_data_sets_not_the_models():
    means = [torch.full((3,), value) for value in (0.2, 0.2, 0.6)]
    models = [
        random_model(seed=i, dataset=d, mean=m, std=2 * m)
        for i, (d, m) in enumerate(zip(("a", "a", "b"), means, strict=True))
    ]
    mean, std = Pool(models, ["x"]).normalisation
    assert torch.allclose(mean, torch.full((3,), 0.4))
    assert torch.allclose(std, torch.full((3,), 0.8))


def test_sampled_models_carry_their_own_networks(pool):
    images = torch.rand(2, 3, SIDE, SIDE)
    marks = [model.logits(images) for model in pool]
    architectures = Counter()
    for draw in range(50):
        models = pool.sample(4, numpy_rng(draw))
        for model in models:
            assert model is pool[model.index]
            assert torch.equal(model.logits(images), marks[model.index])
        assert len({id(m.network) for m in models}) == len({m.index for m in models})
        architectures.update(m.architecture for m in models)
    assert set(architectures) == set(ARCHITECTURES)


def test_data_sets_then_architectures_are_drawn_evenly(pool):
    drawn = Counter((m.dataset, m.architecture) for m in pool.sample(4000, numpy_rng(0)))
    shares = {key: count / 4000 for key, count in drawn.items()}
    expected = {("apples", "conv4"): 0.5, ("berries", "conv4"): 0.25, ("berries", "narrow"): 0.25}
    assert shares == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("first", [0, 1])
def test_shared_last_repeats_one_network_under_differing_class_lists(folders, first):
    pool = Pool.load(folders[first:], label_space="global", device=CPU)
    architectures, lists = set(), Counter()
    for draw in range(50):
        models = pool.sample(4, numpy_rng(draw), hetero="shared_last")
        last = models[-1]
        assert all(m.network is pool[last.index].network for m in models)
        assert {(m.architecture, m.spec) for m in models} == {(last.architecture, last.spec)}
        assert all(torch.equal(m.classes, pool[m.index].classes) for m in models)
        architectures.add(last.architecture)
        lists[len({tuple(m.classes.tolist()) for m in models})] += 1
    assert architectures == set(ARCHITECTURES)
    assert sum(count for distinct, count in lists.items() if distinct > 1) > 40


def test_shared_last_gives_no_network_to_a_model_of_another_side_or_number_of_classes():
    forms = [("conv4", {}), ("conv4", {}), ("conv4", {"side": 8}), ("resnet10", {}), ("resnet10", {"ways": 2})]
    models = [random_model(seed=i, family=f, architecture=f, **facts) for i, (f, facts) in enumerate(forms)]
    pool = Pool(models, ["x", "y", "z"])
    shared = 0
    for draw in range(50):
        drawn = pool.sample(4, numpy_rng(draw), hetero="shared_last")
        assert all("class_ids" in vars(model) for model in drawn)  # nobody has to wait for the device
        last = pool[drawn[-1].index]
        for model in drawn:
            own = pool[model.index]
            alike = (own.side, len(own.class_ids)) == (last.side, len(last.class_ids))
            assert model.network is (last if alike else own).network
            shared += alike and own is not last
    assert shared


def test_shared_last_is_harmless_in_a_pool_of_one_architecture(folders):
    pool = Pool.load(folders[:1], label_space="global", device=CPU)
    drawn = [pool.sample(4, numpy_rng(1), hetero=hetero) for hetero in ("per_model", "shared_last")]
    assert [m.index for m in drawn[0]] == [m.index for m in drawn[1]]
    assert all(m is pool[m.index] for m in drawn[1])


def test_a_walk_covers_every_model_once_and_mixes_the_groups(pool):
    groups = [(model.dataset, model.architecture) for model in pool]
    sizes = Counter(groups)
    walks = [pool.walk(numpy_rng(seed)) for seed in range(20)]
    for walk in walks:
        assert sorted(walk.tolist()) == list(range(len(pool)))
        for group, size in sizes.items():
            places = np.flatnonzero([groups[i] == group for i in walk])
            halves = (places < len(pool) / 2).sum()
            assert abs(halves - size / 2) <= 1.5, "a group must not gather at one end"
    assert len({tuple(walk) for walk in walks}) == 20
    assert {groups[walk[0]] for walk in walks} == set(groups)


def test_a_pool_of_several_sides_shows_each_model_its_own(tmp_path):
    small = write_random_zoo(tmp_path / "small", dataset="small", models=2)
    large = write_random_zoo(tmp_path / "large", dataset="large", models=2, side=20, std=[0.5, 0.5, 0.5])
    pool = Pool.load([small, large], label_space="global", device=CPU)
    assert (pool.side, pool.canvas, pool.sides) == (None, 20, [16, 20])
    images = torch.rand(3, 3, 20, 20)
    assert [tuple(model.inputs(images).shape[-2:]) for model in pool] == [(16, 16)] * 2 + [(20, 20)] * 2
    assert all(model.logits(images).shape == (3, 3) for model in pool)
    mean, std = pool.class_normalisation
    assert mean.shape == std.shape == (16, 3)
    for model in pool:
        for label in model.class_ids:
            assert pool.side_of(label) == model.side
            assert torch.equal(std[label], model.std)
    assert pool.domains.keys() == {"small", "large"}


def test_one_side_is_seen_as_it_is(pool):
    images = torch.rand(2, 3, SIDE, SIDE)
    assert pool.side == pool.canvas == SIDE
    assert torch.equal(pool[0].inputs(images), normalise(images, MEAN, STD))
