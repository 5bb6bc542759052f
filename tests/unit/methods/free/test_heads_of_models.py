"""`bell.heads: per_model`: models that number their classes differently do not contradict each other."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfml.compute.optimisers import Adam
from dfml.compute.seeds import torch_generator
from dfml.inversion.objective import Views
from dfml.metalearning.distillation import draw_heads
from dfml.methods.free.bell import BellSteps, heads_of_models, outer_step
from dfml.methods.free.settings import BellSettings, FreeSettings
from support.inversion import recovered
from support.learners import encoder, generator, wrapped
from support.zoo import CPU, SIDE, WAYS

PERMUTED = [1, 2, 0]


class Renumbered(nn.Module):
    """A classifier whose outputs stand in another order."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)[:, PERMUTED]


@pytest.fixture
def sets():
    """The same images, as if they had been recovered from a classifier and from the same one renumbered."""
    teacher = encoder(1)
    with torch.no_grad():
        teacher.head.weight.mul_(10)  # answers that are not the same for every image
    images = torch.rand(12, 3, SIDE, SIDE, generator=generator(2))
    classes = torch.arange(WAYS)
    models = [wrapped(teacher, classes), wrapped(Renumbered(teacher), classes[PERMUTED], index=1)]
    return [recovered(replace(model, side=SIDE), images) for model in models]


def learn(sets, heads, *, iterations=60, **settings):
    """The mean loss of the last walk, and all that BELL moves."""
    network = encoder(3)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    bell = BellSettings(**{"fast_learning_rate": 0.1, "heads": heads, **settings})
    own = made_heads(network) if heads == "per_model" else None
    steps = BellSteps(network, parameters, bell, Views(0, True), own)
    shared = Adam([[*parameters.values(), *steps.heads.values()]], [1e-3])
    for number in range(iterations):
        walked = steps.walk(sets, generator(number))
        outer_step(steps.start, walked.end, bell, shared)
    return walked.loss.item(), parameters, steps


def made_heads(network, models=2):
    draws = torch_generator(0, "heads")
    return heads_of_models(models, ways=WAYS, size=network.feature_size, generator=draws, device=CPU)


def head_displacements(sets, heads):
    """How far the steps on each set move the head of its student, alone."""
    network = encoder(3)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    own = made_heads(network) if heads == "per_model" else None
    steps = BellSteps(network, parameters, BellSettings(heads=heads), Views(0, True), own)
    name = "heads.weight" if own else "head.weight"
    return [(steps.walk([item], generator(0)).end[name] - steps.start[name]).detach().flatten() for item in sets]


def test_a_shared_head_is_pulled_to_and_fro_and_heads_of_the_models_are_not(sets):
    first, second = head_displacements(sets, "shared")
    assert F.cosine_similarity(first, second, dim=0) < -0.2  # they cancel in part
    first, second = head_displacements(sets, "per_model")
    assert first @ second == 0 and min(first.norm(), second.norm()) > 0


@pytest.mark.parametrize("mode", ["parallel", "sequential"])
def test_only_heads_of_the_models_can_answer_both_numberings(sets, mode):
    shared, *_ = learn(sets, "shared", mode=mode)
    apart, parameters, _ = learn(sets, "per_model", mode=mode)
    assert apart < 0.25 * shared
    own = encoder(3).head
    assert torch.equal(parameters["head.weight"], own.weight) and torch.equal(parameters["head.bias"], own.bias)
    # What cannot be agreed on costs the shared head at least the divergence from the mean of the two answers.
    images = sets[0].images
    answers = [F.softmax(item.model.network(images), 1) for item in sets]
    mean = sum(answers) / 2
    least = sum((a * (a.log() - mean.log())).sum(1).mean() for a in answers) / 2
    assert apart < least < 1.1 * shared


def test_a_model_is_asked_through_its_own_head(sets):
    _, _, steps = learn(sets, "per_model", iterations=1)
    end = steps.walk(sets[1:], generator(0)).end
    for name, heads in steps.heads.items():
        assert torch.equal(end[name][0], heads[0]) and not torch.equal(end[name][1], heads[1])


def test_heads_begin_as_those_of_the_distillation_with_heads():
    size = encoder().feature_size
    weights, biases = draw_heads(2 * WAYS, size, torch_generator(0, "heads"))
    heads = made_heads(encoder())
    assert torch.equal(heads["heads.weight"].flatten(0, 1), weights) and not heads["heads.bias"].any()
    assert torch.equal(heads["heads.bias"].flatten(), biases)
    assert weights.std().item() == pytest.approx(0.5 / size**0.5, rel=0.2)


def test_off_may_be_written_bare():
    """YAML 1.1 reads it as false."""
    assert FreeSettings(bell={"mode": False}).bell.mode == "off"
    assert FreeSettings.model_validate(FreeSettings(bell={"mode": "off"}).model_dump(mode="json")).bell.mode == "off"
