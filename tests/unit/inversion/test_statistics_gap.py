"""The batch-norm term of inversion: its value, its gradient, its hooks."""

import pytest
import torch
from torch import nn

from dfml.compute.seeds import torch_generator
from dfml.inversion.losses import StatisticsGap
from dfml.networks.batch_norm import EpisodicBatchNorm2d
from support.inversion import meta_generator, objective
from support.zoo import random_model


def batch(count=8, channels=6, side=4, *, seed=0):
    return torch.randn(count, channels, side, side, dtype=torch.float64, generator=torch_generator(seed))


def norm_knowing(x, *, correction):
    """A frozen batch norm whose stored statistics are those of `x`."""
    norm = EpisodicBatchNorm2d(x.shape[1], episodic=False).double().eval()
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=correction)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    return norm


def gap(network, x):
    with StatisticsGap(network) as measured:
        network(x)
        return measured.value()


def hooks(network):
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in network.modules())


def test_zero_for_the_batch_whose_biased_statistics_are_stored():
    x = batch()
    assert gap(norm_knowing(x, correction=0), x) < 1e-12
    assert gap(norm_knowing(x, correction=0), batch(seed=1)) > 0.1


def test_unbiased_stored_variance_leaves_its_known_rest():
    x = batch(128)
    n = 128 * 16
    rest = gap(norm_knowing(x, correction=1), x)
    assert rest.item() == pytest.approx((x.var((0, 2, 3), correction=0).norm() / (n - 1)).item(), rel=1e-6)
    assert rest > 1e-4


def test_value_by_hand_over_two_layers():
    first, second = norm_knowing(batch(seed=2), correction=0), norm_knowing(batch(seed=3), correction=0)
    network, x = nn.Sequential(first, nn.ReLU(), second), batch()
    expected = 0.0
    for norm, inputs in ((first, x), (second, first(x).relu())):
        variance, mean = torch.var_mean(inputs, (0, 2, 3), correction=0)
        expected += (mean - norm.running_mean).norm() + (variance - norm.running_var).norm()
    assert torch.allclose(gap(network, x), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("family", ["conv4", "resnet10"])
def test_gradient_with_respect_to_the_image_matches_finite_differences(family):
    network = random_model(family=family).network
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch_generator(1)).requires_grad_()
    (gradient,) = torch.autograd.grad(gap(network, x), x)
    for seed in range(5):
        direction = torch.randn(x.shape, dtype=x.dtype, generator=torch_generator(seed, "direction"))
        with torch.no_grad():
            difference = (gap(network, x + 1e-6 * direction) - gap(network, x - 1e-6 * direction)) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)


def test_each_pass_is_counted_once():
    norm, x = norm_knowing(batch(), correction=0), batch(seed=1)
    with StatisticsGap(norm) as measured:
        norm(x)
        once = measured.value()
        norm(x)
        again = measured.value()
    assert torch.equal(once, again)


def test_hooks_are_gone_after_the_block():
    network, x = random_model().network, torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with StatisticsGap(network) as measured:
        assert hooks(network) == 4
        network(x)
    assert hooks(network) == 0
    assert measured.value() > 0


def test_hooks_are_gone_after_an_error_in_the_forward_pass():
    network = random_model().network
    with pytest.raises(Exception, match="16-pixel"), StatisticsGap(network):
        network(torch.rand(2, 3, 20, 20, dtype=torch.float64))
    assert hooks(network) == 0


def test_hooks_are_gone_after_an_error_inside_the_objective():
    model = random_model()
    images, targets = torch.rand(6, 3, 16, 16, dtype=torch.float64), torch.full((6,), 99)
    with pytest.raises(IndexError):
        objective(bn_weight=1.0)(model, images, targets, torch_generator(0))
    broken = random_model(network=nn.Sequential(model.network, nn.Linear(7, 7)))
    with pytest.raises(RuntimeError):
        objective(bn_weight=1.0)(broken, images, targets, torch_generator(0))
    assert hooks(model.network) == 0


def test_an_inversion_leaves_no_hook():
    model = random_model()
    meta_generator().adapt(model, objective(bn_weight=1.0), images_per_class=2, generator=torch_generator(0))
    assert hooks(model.network) == 0
