"""Training one model: the cut of the images, the recipe, the stored epoch."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from pydantic import ValidationError

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.errors import DataError
from dfml.imaging.pixels import normalise
from dfml.networks.build import build_network
from dfml.zoo import training
from dfml.zoo.augmentation import Augmentation
from dfml.zoo.settings import OptimiserSettings
from dfml.zoo.training import ModelTraining, Part, accuracy, learning_rate, make_task, shares, train_together
from support.zoo import CPU, MEAN, SIDE, STD, WAYS, pattern_images, storages, zoo_settings

SPEC = NetworkSpec(family="conv4", width=4, ways=WAYS, side=SIDE)
CLASSES = [5, 0, 3]


@pytest.fixture(scope="module")
def task():
    return make_task(pattern_images(), CLASSES, zoo_settings(), CPU)


def train_one(task, *, seed=0, spec=SPEC, **settings):
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    one = ModelTraining(task.train, task.selection, spec, zoo_settings(**settings), mean=mean, std=std, seed=seed)
    train_together([one])
    return one


def flat_of(tensors):
    return torch.cat([t.detach().flatten().clone() for t in tensors])


def trained(task, **options):
    return train_one(task, **options).result()


def accuracy_of(state, part):
    network = build_network(SPEC)
    network.load_state_dict(state)
    network.to(memory_format=torch.channels_last)
    inputs = normalise(part.images, MEAN, STD).contiguous(memory_format=torch.channels_last)
    return accuracy(network, inputs, part.labels)


@pytest.mark.parametrize("percent", [50, 64, 80, 90])
@pytest.mark.parametrize("more", [5, 9])
def test_cuts_are_rounded_down(percent, more):
    for count in range(1, 601):
        found = shares(count, percent / 100, more / 100)
        assert found == [percent * count // 100, (percent + more) * count // 100]


@pytest.mark.parametrize(("per_class", "sizes"), [(10, (8, 1, 1)), (11, (8, 1, 2)), (19, (15, 2, 2)), (20, (16, 2, 2))])
def test_every_image_is_in_one_of_three_parts(per_class, sizes):
    images = pattern_images(per_class=per_class)
    task = make_task(images, CLASSES, zoo_settings(), CPU)
    for label, c in enumerate(CLASSES):
        pieces = [part.images[part.labels == label] for part in (task.train, task.selection, task.test)]
        assert tuple(map(len, pieces)) == sizes
        assert torch.equal(torch.cat(pieces), images.images[c].float() / 255)
    assert sum(task.counts.values()) == 3 * per_class
    assert task.counts == {name: 3 * size for name, size in zip(("train", "selection", "test"), sizes, strict=True)}


@pytest.mark.parametrize(
    ("per_class", "settings"), [(1, {}), (5, {}), (4, {"train_fraction": 0.2}), (20, {"selection_fraction": 0.04})]
)
def test_too_few_images_names_the_class(per_class, settings):
    with pytest.raises(DataError, match=r"toy: class 'meta_train_5' has .* `zoo.train_fraction` or"):
        make_task(pattern_images(per_class=per_class), CLASSES, zoo_settings(**settings), CPU)


@pytest.mark.parametrize(("train", "selection"), [(0.9, 0.1), (0.7, 0.3), (0.8, 0.5)])
def test_shares_that_leave_nothing_to_test_are_refused(train, selection):
    with pytest.raises(ValidationError, match="leaves no images to measure the own accuracy on"):
        zoo_settings(train_fraction=train, selection_fraction=selection)


def test_a_model_learns_its_task(task):
    one = train_one(task, epochs=12)
    state, scores = one.result()
    assert scores["selection_accuracy"] > 80
    assert accuracy_of(state, task.selection) == scores["selection_accuracy"]
    assert accuracy_of(state, task.test) == one.own_accuracy(task.test) > 80


def test_the_selection_images_choose_the_epoch_and_change_no_step(task):
    options = {"epochs": 6, "checkpoint": "last"}
    poisoned = replace(task, selection=Part(1 - task.selection.images, task.selection.labels.flip(0)))
    (clean, scores), (again, others) = trained(task, **options), trained(poisoned, **options)
    assert all(torch.equal(tensor, again[name]) for name, tensor in clean.items())
    assert scores["selection_accuracy"] != others["selection_accuracy"]


@pytest.fixture
def spoilt_end(monkeypatch):
    """A learning rate that ruins the model in the last of five epochs."""

    def spiked(settings, step, *, steps_per_epoch, epochs):
        return 30.0 if step >= (epochs - 1) * steps_per_epoch else settings.learning_rate

    monkeypatch.setattr(training, "learning_rate", spiked)


def test_the_best_epoch_is_stored_not_the_last(task, spoilt_end):
    state, scores = trained(task, epochs=5, checkpoint="best")
    assert scores["selection_accuracy_last"] < scores["selection_accuracy_best"]
    assert scores["epoch_best"] < 5
    assert accuracy_of(state, task.selection) == scores["selection_accuracy_best"] == scores["selection_accuracy"]


def test_the_last_epoch_is_stored_when_asked_for(task, spoilt_end):
    state, scores = trained(task, epochs=5, checkpoint="last")
    assert scores["selection_accuracy_last"] < scores["selection_accuracy_best"]
    assert accuracy_of(state, task.selection) == scores["selection_accuracy_last"] == scores["selection_accuracy"]


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


@pytest.mark.parametrize("family", ["conv4", "resnet10"])
def test_steps_in_bfloat16_go_where_those_in_float32_go(task, family):
    spec, section = SPEC.model_copy(update={"family": family}), "conv4" if family == "conv4" else "resnet"
    start = flat_of(build_network(spec, generator=torch_generator(0, "weights")).parameters())

    def walked(bfloat16):
        recipe = {"epochs": 1, "optimiser": "sgd", "learning_rate": 0.1, "bfloat16": bfloat16}
        one = train_one(task, spec=spec, batch_size=len(task.train), **{section: recipe})
        assert {p.dtype for p in one.network.state_dict().values()} == {torch.float32, torch.int64}
        return flat_of(one.network.parameters()) - start

    own, exact = walked(bfloat16=True), walked(bfloat16=False)
    assert torch.equal(own, walked(bfloat16=True))
    # Eight bits of a factor: more than float32 would round, and the same direction.
    assert 1e-4 < (own - exact).norm() / exact.norm() < 0.2


def test_a_family_may_have_epochs_of_its_own(task):
    own = OptimiserSettings(learning_rate=0.02, epochs=2)
    (few, scores), (same, _) = trained(task, epochs=5, conv4=own), trained(task, epochs=2)
    assert scores["epoch_best"] <= 2
    assert all(torch.equal(tensor, same[name]) for name, tensor in few.items())


def test_each_augmentation_trains_another_model(task):
    kinds = [{"augment": kind} for kind in ("none", "crop", "crop_flip", "affine")]
    kinds += [{"recolour": True}, {"augment": "affine", "recolour": True}]
    heads = [trained(task, epochs=1, **kind)[0]["head.weight"] for kind in kinds]
    assert not any(torch.equal(one, other) for one, other in combinations(heads, 2))


def test_augmentation_is_drawn_anew_each_epoch_in_its_place():
    changes = zoo_settings(augment="affine", recolour=True)
    augmentation = Augmentation(changes, steps=2, images=5, device=CPU)
    images, draws = pattern_images().images[0][:5].float() / 255, torch.Generator().manual_seed(0)
    varied = []
    for _ in range(2):
        augmentation.redraw(draws)
        varied += [augmentation(images, torch.tensor([step])) for step in range(2)]
    assert not any(torch.equal(one, other) for one, other in combinations(varied, 2))
    draws.manual_seed(0)
    augmentation.redraw(draws)
    assert torch.equal(augmentation(images, torch.tensor([0])), varied[0])


def test_gradient_clip_bounds_a_step(task):
    plain = OptimiserSettings(optimiser="sgd", learning_rate=1.0, schedule="multistep")
    start, _ = trained(task, epochs=1, batch_size=48, conv4=plain.model_copy(update={"learning_rate": 1e-30}))
    end, _ = trained(task, epochs=1, batch_size=48, conv4=plain, gradient_clip=1e-3)
    moved = torch.cat([(end[n] - start[n]).flatten() for n in start if n.split(".")[-1] in ("weight", "bias")])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_measuring_keeps_the_mode_and_the_statistics(task):
    network = build_network(SPEC).train()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    accuracy(network, task.test.images, task.test.labels)
    assert network.training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_a_measurement_that_breaks_off_keeps_the_mode(task, monkeypatch):
    network = build_network(SPEC).train()
    with monkeypatch.context() as patched:
        patched.setattr(network.head, "forward", lambda features: features.no_such_thing)
        with pytest.raises(AttributeError):
            accuracy(network, task.test.images, task.test.labels)
    assert network.training


def test_without_closed_forms_biases_that_batch_norm_takes_away_stay_too(task, monkeypatch):
    adam = OptimiserSettings(learning_rate=0.01, weight_decay=0.0)
    start, _ = trained(task, epochs=1, conv4=adam.model_copy(update={"learning_rate": 1e-30}))
    closed, _ = trained(task, epochs=2, conv4=adam)
    monkeypatch.setattr(training, "ClosedStep", lambda network: None)  # as on a GPU
    by_autograd, _ = trained(task, epochs=2, conv4=adam)
    for block in range(4):
        name = f"blocks.{4 * block}.bias"
        assert torch.equal(start[name], closed[name]) and torch.equal(start[name], by_autograd[name])
    assert not torch.equal(start["head.bias"], by_autograd["head.bias"])


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
