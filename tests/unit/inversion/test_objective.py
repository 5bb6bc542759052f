"""What one inversion step minimises: weights, augmentation, the adversary."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfml.compute.seeds import torch_generator
from dfml.inversion.losses import StatisticsGap, adversarial_loss
from dfml.inversion.objective import Adversary
from support.inversion import objective
from support.zoo import WAYS, random_model

TARGETS = torch.arange(WAYS).repeat(4)


class Spy(nn.Module):
    """Keeps the images that it is shown."""

    def forward(self, images):
        self.seen = images.detach()
        return images.mean((2, 3))[:, :WAYS]


def images(seed=0):
    return torch.rand(len(TARGETS), 3, 16, 16, dtype=torch.float64, generator=torch_generator(seed)).requires_grad_()


def crop_flips_of(asked, seed=0):
    return asked.views.draw(images=len(TARGETS), canvas=16, side=16, generator=torch_generator(seed))


def measured(model, asked, x, seed=0):
    """Loss, cross-entropy and gradient with respect to the images."""
    loss, cross_entropy = asked(model, x, TARGETS, crop_flips_of(asked, seed))
    return loss.detach(), cross_entropy, torch.autograd.grad(loss, x)[0]


def spied(asked, x=None):
    """Images as the network sees them, normalisation undone."""
    network = Spy()
    model = random_model(network=network, mean=torch.zeros(3), std=torch.ones(3))
    asked(model, images() if x is None else x, TARGETS, crop_flips_of(asked))
    return network.seen


def test_cross_entropy_alone():
    model, x = random_model(), images()
    loss, cross_entropy, _ = measured(model, objective(ce_weight=2.0), x)
    expected = F.cross_entropy(model.logits(x), TARGETS)
    assert torch.allclose(cross_entropy, expected, rtol=1e-12, atol=0)
    assert torch.allclose(loss, 2 * expected, rtol=1e-12, atol=0)
    assert not cross_entropy.requires_grad


def test_statistics_term_adds_its_weight_and_its_gradient():
    model, x = random_model(), images()
    plain, weighted = (measured(model, objective(bn_weight=w), x) for w in (0.0, 0.3))
    with StatisticsGap(model.network) as gap:
        model.logits(x)
        term = gap.value()
    assert torch.allclose(weighted[0], plain[0] + 0.3 * term, rtol=1e-12, atol=0)
    assert torch.allclose(weighted[2], plain[2] + 0.3 * torch.autograd.grad(term, x)[0], rtol=1e-9, atol=1e-15)
    assert not torch.allclose(weighted[2], plain[2])


def test_without_padding_the_network_sees_the_images_themselves():
    x = images()
    assert torch.equal(spied(objective(crop_padding=0), x), x)


@pytest.mark.parametrize(("per_sample", "distinct"), [(True, True), (False, False)])
def test_crops_and_flips_are_drawn_per_image_or_once_per_batch(per_sample, distinct):
    copies = images()[:1].expand(len(TARGETS), -1, -1, -1)
    seen = spied(objective(crop_padding=4, per_sample=per_sample), copies)
    assert not torch.equal(seen, copies)
    assert distinct == any(not torch.equal(view, seen[0]) for view in seen)


def test_augmentation_is_that_of_the_given_draws():
    model, x = random_model(), images()
    asked = objective(crop_padding=4)
    assert torch.equal(measured(model, asked, x, 1)[2], measured(model, asked, x, 1)[2])
    assert not torch.equal(measured(model, asked, x, 1)[2], measured(model, asked, x, 2)[2])


def test_padding_is_black_before_the_normalisation():
    seen = spied(objective(crop_padding=4), torch.ones(len(TARGETS), 3, 16, 16, dtype=torch.float64))
    assert set(seen.unique().tolist()) == {0.0, 1.0}


@pytest.fixture
def network():
    """A student that is half as sure as the teacher, so that both predict the same classes."""
    student = copy.deepcopy(random_model().network).requires_grad_()
    with torch.no_grad():
        student.head.weight.div_(2)
        student.head.bias.div_(2)
    return student


def against(network, *, weight=1.0, kind="kl_ts", student_grad=False):
    return objective(adversary=Adversary(weight, kind, lambda model, inputs: network(inputs), student_grad))


def test_adversary_adds_its_weight(network):
    model, x = random_model(), images()
    plain, adversarial = measured(model, objective(), x), measured(model, against(network, weight=0.7), x)
    term = adversarial_loss(model.logits(x), network(model.inputs(x)).detach(), "kl_ts")
    assert term < 0
    assert torch.allclose(adversarial[0], plain[0] + 0.7 * term, rtol=1e-9, atol=0)
    assert torch.allclose(adversarial[2], plain[2] + 0.7 * torch.autograd.grad(term, x)[0], rtol=1e-6, atol=1e-12)


def test_adversary_sees_what_the_teacher_sees():
    model, x, seen = random_model(), images(), []

    def student(asked, inputs):
        seen.append((asked, inputs.detach()))
        return asked.network(inputs)

    asked = objective(adversary=Adversary(1.0, "kl_ts", student, student_grad=False))
    asked(model, x, TARGETS, crop_flips_of(asked))
    assert seen[0][0] is model
    assert torch.equal(seen[0][1], model.inputs(x).detach())


def test_student_gradient_is_a_choice(network):
    model, x = random_model(), images()
    without, through = (measured(model, against(network, student_grad=choice), x)[2] for choice in (False, True))
    assert not torch.allclose(without, through)


def test_a_detached_student_gets_no_gradient(network):
    asked = against(network, kind="js")
    loss, _ = asked(random_model(), images(), TARGETS, crop_flips_of(asked))
    loss.backward()
    assert all(p.grad is None for p in network.parameters())
