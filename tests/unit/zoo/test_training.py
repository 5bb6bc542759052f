"""Training one model: the cut of the images, the recipe, the stored epoch."""

import math

import pytest
import torch

from dfml.artefacts.zoo import NetworkSpec
from dfml.errors import DataError
from dfml.imaging.pixels import normalise
from dfml.networks.build import build_network
from dfml.zoo import training
from dfml.zoo.settings import OptimiserSettings
from dfml.zoo.training import ModelTraining, accuracy, learning_rate, make_task, train_together, training_count
from support.zoo import CPU, MEAN, SIDE, STD, WAYS, pattern_images, storages, zoo_settings

SPEC = NetworkSpec(family="conv4", width=4, ways=WAYS, side=SIDE)
CLASSES = [5, 0, 3]


@pytest.fixture(scope="module")
def task():
    return make_task(pattern_images(), CLASSES, 0.8, CPU)


def trained(task, *, seed=0, spec=SPEC, **settings):
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    one = ModelTraining(task, spec, zoo_settings(**settings), mean=mean, std=std, seed=seed)
    train_together([one])
    return one.result()


def accuracy_of(state, task):
    network = build_network(SPEC)
    network.load_state_dict(state)
    network.to(memory_format=torch.channels_last)
    inputs = normalise(task.test_images, MEAN, STD).contiguous(memory_format=torch.channels_last)
    return accuracy(network, inputs, task.test_labels)


@pytest.mark.parametrize("percent", [50, 64, 80, 90])
def test_training_share_is_rounded_down(percent):
    for count in range(1, 601):
        assert training_count(count, percent / 100) == percent * count // 100


def test_every_image_trains_or_measures_and_none_does_both():
    images = pattern_images(per_class=11)
    task = make_task(images, CLASSES, 0.8, CPU)
    for label, c in enumerate(CLASSES):
        train_part = task.train_images[task.train_labels == label]
        test_part = task.test_images[task.test_labels == label]
        assert len(train_part) == 8
        assert torch.equal(torch.cat([train_part, test_part]), images.images[c].float() / 255)
    assert len(task.train_labels) + len(task.test_labels) == 3 * 11


@pytest.mark.parametrize(("per_class", "fraction"), [(1, 0.8), (4, 0.2)])
def test_too_few_images_names_the_class(per_class, fraction):
    with pytest.raises(DataError, match=r"toy: class 'meta_train_5' has .* `zoo.train_fraction`"):
        make_task(pattern_images(per_class=per_class), CLASSES, fraction, CPU)


def test_a_model_learns_its_task(task):
    state, scores = trained(task, epochs=12)
    assert scores["accuracy_stored"] > 80
    assert accuracy_of(state, task) == scores["accuracy_stored"]


@pytest.fixture
def spoilt_end(monkeypatch):
    """A learning rate that ruins the model in the last of five epochs."""

    def spiked(settings, step, *, steps_per_epoch, epochs):
        return 30.0 if step >= (epochs - 1) * steps_per_epoch else settings.learning_rate

    monkeypatch.setattr(training, "learning_rate", spiked)


def test_the_best_epoch_is_stored_not_the_last(task, spoilt_end):
    state, scores = trained(task, epochs=5, checkpoint="best")
    assert scores["accuracy_last"] < scores["accuracy_best"]
    assert scores["epoch_best"] < 5
    assert accuracy_of(state, task) == scores["accuracy_best"] == scores["accuracy_stored"]


def test_the_last_epoch_is_stored_when_asked_for(task, spoilt_end):
    state, scores = trained(task, epochs=5, checkpoint="last")
    assert scores["accuracy_last"] < scores["accuracy_best"]
    assert accuracy_of(state, task) == scores["accuracy_last"] == scores["accuracy_stored"]


def test_stored_tensors_are_copies(task):
    state, _ = trained(task, epochs=1)
    again, _ = trained(task, epochs=1)
    assert len(storages(state.values())) == len(state)
    assert not storages(state.values()) & storages(again.values())


def test_same_seed_same_bits_other_seed_other_bits(task):
    first, again, other = trained(task)[0], trained(task)[0], trained(task, seed=1)[0]
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("family", ["resnet10", "resnet18"])
def test_resnets_follow_their_own_recipe(task, family):
    spec = SPEC.model_copy(update={"family": family})
    frozen = OptimiserSettings(optimiser="sgd", learning_rate=1e-30, momentum=0.9, schedule="multistep")
    state, _ = trained(task, spec=spec, epochs=1, resnet=frozen)
    moved, _ = trained(task, spec=spec, epochs=1)
    start, _ = trained(task, spec=spec, epochs=1, resnet=frozen, conv4=OptimiserSettings(learning_rate=9.0))
    assert torch.equal(state["head.weight"], start["head.weight"])
    assert not torch.equal(state["head.weight"], moved["head.weight"])


def test_each_augmentation_trains_another_model(task):
    heads = [trained(task, epochs=1, augment=kind)[0]["head.weight"] for kind in ("none", "crop", "crop_flip")]
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[1], heads[2])


def test_gradient_clip_bounds_a_step(task):
    plain = OptimiserSettings(optimiser="sgd", learning_rate=1.0, schedule="multistep")
    start, _ = trained(task, epochs=1, batch_size=48, conv4=plain.model_copy(update={"learning_rate": 1e-30}))
    end, _ = trained(task, epochs=1, batch_size=48, conv4=plain, gradient_clip=1e-3)
    moved = torch.cat([(end[n] - start[n]).flatten() for n in start if n.split(".")[-1] in ("weight", "bias")])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_measuring_keeps_the_mode_and_the_statistics(task):
    network = build_network(SPEC).train()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    accuracy(network, task.test_images, task.test_labels)
    assert network.training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    settings = OptimiserSettings(learning_rate=0.5)
    rates = [learning_rate(settings, step, steps_per_epoch=10, epochs=10) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(0.5, rel=1e-2)
    assert 28 <= top <= 31
    assert rates[-1] == pytest.approx(0.5 / 25e4)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_a_few_steps_is_finite(steps):
    settings = OptimiserSettings(learning_rate=0.5)
    rates = [learning_rate(settings, step, steps_per_epoch=steps, epochs=1) for step in range(steps)]
    assert all(math.isfinite(rate) and 0 < rate <= 0.5 for rate in rates)


def test_multistep_decays_at_its_milestones():
    settings = OptimiserSettings(learning_rate=1.0, schedule="multistep", milestones=(2, 3), gamma=0.5)
    rates = [learning_rate(settings, step, steps_per_epoch=2, epochs=4) for step in range(8)]
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
