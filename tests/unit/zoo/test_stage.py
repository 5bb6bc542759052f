"""The `train_zoo` stage: what it writes, its seeds, its interruptions."""

import json
from dataclasses import replace

import pytest
import torch

from dfml.artefacts.images import ImagesManifest
from dfml.artefacts.zoo import JUDGES, MANIFEST, WEIGHTS, ZooManifest
from dfml.data.images import load_images
from dfml.errors import DataError, FileFormatError
from dfml.jobs.checkpoint import Checkpoint
from dfml.networks.build import build_network
from dfml.networks.settings import NetworkSettings
from dfml.zoo import stage as train
from dfml.zoo.pool import Pool
from dfml.zoo.settings import parts_of
from dfml.zoo.store import load_judges, load_weights, load_zoo
from dfml.zoo.training import Part, accuracy, make_task
from support.zoo import CPU, WAYS, save_pattern_images, train_tiny_part, train_tiny_zoo, zoo_settings

FILES = (WEIGHTS, JUDGES)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return save_pattern_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def zoo(images, tmp_path_factory):
    return train_tiny_zoo(images, tmp_path_factory.mktemp("zoo"))


def contents(folder):
    """All that a zoo says, but for its seconds."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["seconds"]
    return [manifest, *((folder / name).read_bytes() for name in FILES)]


@pytest.fixture
def in_turn():
    """Models are trained one after another: of two at once either might be the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def interrupt(monkeypatch, models):
    """Let training fail after ``models`` models."""
    real, calls = train.train_together, []

    def failing(*args, **options):
        if len(calls) == models:
            raise KeyboardInterrupt
        calls.append(None)
        return real(*args, **options)

    monkeypatch.setattr(train, "train_together", failing)
    return calls


def test_the_manifest_tells_what_the_zoo_was_made_of(zoo, images):
    manifest, data = ZooManifest.load(zoo / MANIFEST), load_images(images)
    facts = ImagesManifest.load(images.parent / "images.json")
    assert (manifest.dataset, manifest.architecture, manifest.seed) == ("toy", "conv4", 0)
    assert (manifest.side, manifest.mean, manifest.std) == (data.side, facts.mean, facts.std)
    assert manifest.class_names == list(data.names)
    for entry in [*manifest.models, *manifest.judges]:
        assert len(set(entry.classes)) == WAYS
        assert set(entry.classes) <= set(range(data.classes))


def test_recorded_accuracies_are_those_of_the_stored_weights(zoo, images):
    manifest, networks = load_zoo(zoo, CPU)
    _, judges = load_judges(zoo, CPU)
    for entry, network in zip([*manifest.models, *manifest.judges], [*networks, *judges], strict=True):
        task = make_task(load_images(images), entry.classes, zoo_settings(), CPU)
        mean, std = torch.tensor(manifest.mean), torch.tensor(manifest.std)

        def measured(part, network=network, mean=mean, std=std):
            inputs = (part.images - mean[:, None, None]) / std[:, None, None]
            return accuracy(network, inputs.contiguous(memory_format=torch.channels_last), part.labels)

        assert measured(task.selection) == entry.selection_accuracy == entry.selection_accuracy_best
        assert measured(task.test) == entry.accuracy
        assert entry.images.model_dump() == task.counts


@pytest.mark.parametrize("spoil", ["pixels", "labels"])
def test_test_images_change_nothing_but_the_reported_accuracy(zoo, images, tmp_path, monkeypatch, spoil):
    def poisoned(*args):
        task = make_task(*args)
        pixels = 1 - task.test.images if spoil == "pixels" else task.test.images
        labels = (task.test.labels + 1) % WAYS if spoil == "labels" else task.test.labels
        return replace(task, test=Part(pixels, labels))

    monkeypatch.setattr(train, "make_task", poisoned)
    (other, *weights), (own, *own_weights) = contents(train_tiny_zoo(images, tmp_path)), contents(zoo)
    assert weights == own_weights
    before = [entry.pop("accuracy") for entry in own["models"] + own["judges"]]
    after = [entry.pop("accuracy") for entry in other["models"] + other["judges"]]
    assert before != after
    assert other == own
    pools = [Pool.load([folder], label_space="global", device=CPU) for folder in (zoo, tmp_path)]
    assert [m.index for m in pools[0].best(2)] == [m.index for m in pools[1].best(2)]


def test_a_judge_is_another_model_of_the_same_classes(zoo):
    manifest = ZooManifest.load(zoo / MANIFEST)
    judge = manifest.judges[0]
    assert judge.classes == manifest.models[judge.index].classes
    own = load_weights(zoo / WEIGHTS, manifest.network, 2)[judge.index]
    anew = load_weights(zoo / JUDGES, manifest.network, 1)[0]
    assert not torch.equal(own["head.weight"], anew["head.weight"])


def test_a_zoo_may_have_no_judges(zoo, images, tmp_path):
    folder = train_tiny_zoo(images, tmp_path, judges=0)
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, WEIGHTS])
    assert ZooManifest.load(folder / MANIFEST).models == ZooManifest.load(zoo / MANIFEST).models
    assert load_judges(folder, CPU)[1] == []


def test_models_differ_in_classes_and_weights(zoo):
    manifest, networks = load_zoo(zoo, CPU)
    assert manifest.models[0].classes != manifest.models[1].classes
    assert not torch.equal(networks[0].head.weight, networks[1].head.weight)


def test_same_seed_same_bits(zoo, images, tmp_path):
    assert contents(train_tiny_zoo(images, tmp_path)) == contents(zoo)


def test_other_seed_other_classes_and_bits(zoo, images, tmp_path):
    other, own = (ZooManifest.load(folder / MANIFEST) for folder in (train_tiny_zoo(images, tmp_path, seed=1), zoo))
    assert [m.classes for m in other.models] != [m.classes for m in own.models]
    assert other.weights_sha256 != own.weights_sha256


def test_a_larger_zoo_begins_with_the_same_models(zoo, images, tmp_path):
    larger = ZooManifest.load(train_tiny_zoo(images, tmp_path, models=3, judges=2) / MANIFEST)
    smaller = ZooManifest.load(zoo / MANIFEST)
    assert larger.models[:2] == smaller.models
    assert larger.judges[:1] == smaller.judges


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("models", [1, 2])
def test_an_interrupted_zoo_continues_to_the_same_bits(zoo, images, tmp_path, monkeypatch, models):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, models)
        train_tiny_zoo(images, tmp_path)
    left = ["resume.pt", *(f"resume.model{number}.pt" for number in range(models))]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left)
    calls = interrupt(monkeypatch, 3)
    saved, save = [], Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda own, state: (saved.append(own.path.name), save(own, state)))
    train_tiny_zoo(images, tmp_path)
    assert len(calls) == 3 - models
    assert [name for name in saved if "model" in name] == [f"resume.model{n}.pt" for n in range(models, 3)]
    assert contents(tmp_path) == contents(zoo)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([MANIFEST, *FILES])


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 2}, {"width": 5}, {"code": "x"}])
def test_an_interrupted_zoo_of_other_settings_or_code_is_not_continued(images, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2)
        train_tiny_zoo(images, tmp_path)
    calls = interrupt(monkeypatch, 3)
    train_tiny_zoo(images, tmp_path, **change)
    assert len(calls) == 3


@pytest.mark.usefixtures("in_turn")
def test_an_interrupted_zoo_of_other_images_is_not_continued(zoo, images, tmp_path, monkeypatch):
    others = save_pattern_images(tmp_path / "images", seed=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2)
        train_tiny_zoo(others, tmp_path / "zoo")
    assert contents(train_tiny_zoo(images, tmp_path / "zoo")) == contents(zoo)


class TestParts:
    def make(self, images, folder, *ranges, **changes):
        parts = []
        for positions in ranges:
            parts.append((positions, folder / f"{positions.start}.pt"))
            train_tiny_part(images, *parts[-1][::-1], **changes)
        return parts

    @pytest.mark.parametrize("size", [1, 2])
    def test_a_zoo_made_in_parts_has_the_same_bits(self, zoo, images, tmp_path, monkeypatch, size):
        ranges = parts_of(NetworkSettings(family="conv4"), zoo_settings(), size)
        assert [list(positions) for positions in ranges] == {1: [[0], [1], [2]], 2: [[0, 1], [2]]}[size]
        parts = self.make(images, tmp_path / "parts", *ranges)
        calls = interrupt(monkeypatch, 0)
        assert contents(train_tiny_zoo(images, tmp_path / "zoo", parts=parts)) == contents(zoo)
        assert not calls
        assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted(path.name for _, path in parts)

    @pytest.mark.usefixtures("in_turn")
    def test_a_part_goes_on_by_itself(self, zoo, images, tmp_path, monkeypatch):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt(patch, 1)
            self.make(images, tmp_path, range(1, 3))
        parts = self.make(images, tmp_path, range(1))
        calls = interrupt(monkeypatch, 1)
        parts += self.make(images, tmp_path, range(1, 3))
        assert len(calls) == 1
        assert contents(train_tiny_zoo(images, tmp_path / "zoo", parts=parts)) == contents(zoo)

    def test_a_small_zoo_is_made_by_one_job(self):
        network = NetworkSettings(family="conv4")
        assert parts_of(network, zoo_settings(), 3) == parts_of(network, zoo_settings(), None) == []
        assert parts_of(network.model_copy(update={"models": 5}), zoo_settings(), 4) == [range(4), range(4, 6)]

    @pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 2}, {"code": "x"}, {"models": 3}])
    def test_parts_of_another_zoo_are_refused(self, images, tmp_path, change):
        parts = self.make(images, tmp_path, range(2), range(2, 3), **change)
        with pytest.raises(FileFormatError, match=r"0\.pt is damaged, or does not hold the models 0 to 1 of this zoo"):
            train_tiny_zoo(images, tmp_path / "zoo", parts=parts)

    def test_parts_in_another_order_are_refused(self, images, tmp_path):
        (first, one), (second, other) = self.make(images, tmp_path, range(2), range(2, 3))
        with pytest.raises(FileFormatError, match="delete it and run the rule train_zoo_part again"):
            train_tiny_zoo(images, tmp_path / "zoo", parts=[(first, other), (second, one)])

    def test_a_damaged_part_is_refused(self, images, tmp_path):
        parts = self.make(images, tmp_path, range(2), range(2, 3))
        parts[1][1].write_bytes(parts[1][1].read_bytes()[:-100])
        with pytest.raises(FileFormatError, match=r"2\.pt is damaged"):
            train_tiny_zoo(images, tmp_path / "zoo", parts=parts)
        assert not (tmp_path / "zoo").exists()


def test_fewer_classes_than_ways_are_refused(tmp_path):
    images = save_pattern_images(tmp_path / "images", classes=2)
    with pytest.raises(DataError, match="2 meta-train classes cannot give 3-way tasks; lower `ways`"):
        train_tiny_zoo(images, tmp_path / "zoo")


def test_stored_networks_are_those_of_the_manifest(zoo):
    manifest = ZooManifest.load(zoo / MANIFEST)
    like = build_network(manifest.network).state_dict()
    for state in load_weights(zoo / WEIGHTS, manifest.network, len(manifest.models)):
        assert {name: t.shape for name, t in state.items()} == {name: t.shape for name, t in like.items()}
