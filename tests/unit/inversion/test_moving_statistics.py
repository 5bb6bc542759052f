"""Fast-Datafree's moving estimate of the statistics, by hand."""

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.inversion.losses import MovingStatistics, StatisticsGap
from dfml.inversion.objective import Objective
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from support.inversion import meta_generator, objective
from support.zoo import random_model


def norm():
    made = EpisodicBatchNorm2d(3, episodic=False).double().eval()
    made.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    made.running_var.copy_(torch.tensor([1.0, 0.5, 2.0]))
    return made


def batches(count=3):
    draws = torch_generator(0)
    return [torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=draws) * (i + 1) for i in range(count)]


def test_the_estimate_by_hand():
    own, moving = norm(), MovingStatistics(0.9)
    mean = variance = None
    for x in batches():
        with StatisticsGap(own, moving) as gap:
            own(x)
            found = gap.value()
        new_variance, new_mean = torch.var_mean(x, (0, 2, 3), correction=0)
        mean = new_mean if mean is None else 0.9 * mean + 0.1 * new_mean
        variance = new_variance if variance is None else 0.9 * variance + 0.1 * new_variance
        expected = (mean - own.running_mean).norm() + (variance - own.running_var).norm()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_gradient_passes_through_the_latest_batch_alone():
    own, moving = norm(), MovingStatistics(0.9)
    first, second = (x.requires_grad_() for x in batches(2))
    with StatisticsGap(own, moving) as gap:
        own(first)
        gap.value()
        own(second)
        later = gap.value()
    assert torch.autograd.grad(later, first, allow_unused=True, retain_graph=True) == (None,)
    (gradient,) = torch.autograd.grad(later, second)
    kept_variance, kept_mean = torch.var_mean(first.detach(), (0, 2, 3), correction=0)

    def value(x):
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        mean, variance = 0.9 * kept_mean + 0.1 * mean, 0.9 * kept_variance + 0.1 * variance
        return (mean - own.running_mean).norm() + (variance - own.running_var).norm()

    direction = 1e-6 * torch.randn(second.shape, dtype=second.dtype, generator=torch_generator(1))
    difference = (value(second.detach() + direction) - value(second.detach() - direction)) / 2
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-6)


def test_without_momentum_the_objective_has_no_memory():
    for plain in (objective(bn_weight=1.0), objective(statistics_momentum=0.9)):
        assert plain.begun() is plain
    moving = objective(bn_weight=1.0, statistics_momentum=0.9)
    first, second = moving.begun(), moving.begun()
    assert first.moving is not second.moving and moving.moving is None


@pytest.mark.parametrize("rule", ["fomaml_sum", "maml"])
def test_every_inversion_begins_with_a_memory_of_its_own(rule):
    asked = objective(bn_weight=1.0, statistics_momentum=0.9)
    five, model = meta_generator(outer_rule=rule), random_model()

    def found():
        return five.adapt(model, asked, images_per_class=2, generator=torch_generator(0))[0].images

    first = found()
    assert torch.equal(first, found())
    plain = five.adapt(model, objective(bn_weight=1.0), images_per_class=2, generator=torch_generator(0))[0].images
    assert not torch.equal(first, plain)


def test_the_memory_reaches_over_the_inner_steps(monkeypatch):
    seen, ask = [], Objective.__call__
    monkeypatch.setattr(Objective, "__call__", lambda self, *a: seen.append(self.moving) or ask(self, *a))
    asked = objective(bn_weight=1.0, statistics_momentum=0.5)
    five = meta_generator(steps=3)
    for _ in range(2):
        five.adapt(random_model(), asked, images_per_class=2, generator=torch_generator(0))
    assert None not in seen
    assert len({id(moving) for moving in seen[:3]}) == len({id(moving) for moving in seen[3:]}) == 1
    assert seen[0] is not seen[3]
