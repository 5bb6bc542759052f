"""The inversion loss of PURER's images: by hand, its gradient by differences, many models at once."""

import pytest
import torch
import torch.nn.functional as F

from dfml.inversion.losses import StatisticsGap, rolled, total_variation
from dfml.methods.purer.pixel_loss import PixelLoss, Question
from support.learners import generator
from support.zoo import WAYS, random_model

LOSS = PixelLoss(tv_weight=0.02, bn_weight=0.1, l2_weight=0.03)


def question(seed=0, family="conv4", side=16, count=2):
    images = torch.randn(WAYS, count, 3, side, side, dtype=torch.float64, generator=generator(seed))
    return Question(random_model(seed=seed, family=family), images, (1, -2))


def by_hand(asked, images, loss=LOSS):
    model, moved = asked.model, rolled(images.flatten(0, 1), asked.shift)
    pixels = moved * model.std[:, None, None] + model.mean[:, None, None]
    with StatisticsGap(model.network) as gap:
        logits = model.logits(pixels)
        statistics = gap.value()
    targets = torch.tensor([0, 0, 1, 1, 2, 2])
    prior = loss.tv_weight * total_variation(moved) + loss.l2_weight * moved.square().sum().sqrt()
    return F.cross_entropy(logits, targets) + prior + loss.bn_weight * statistics, F.cross_entropy(logits, targets)


@pytest.mark.parametrize(("family", "side"), [("conv4", 16), ("conv4", 24), ("resnet10", 24)])
def test_value_and_gradient(family, side):
    asked = question(family=family, side=side)
    (gradient,), losses, entropies = LOSS.gradients([asked])
    expected = by_hand(asked, asked.images)
    assert losses.tolist() == [pytest.approx(expected[0].item(), rel=1e-12)]
    assert entropies.tolist() == [pytest.approx(expected[1].item(), rel=1e-12)]
    for seed in range(3):
        direction = torch.randn(gradient.shape, dtype=gradient.dtype, generator=generator(seed))
        ends = [by_hand(asked, asked.images + sign * 1e-6 * direction)[0] for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


def test_models_of_one_architecture_at_once_give_the_same():
    asked = [question(seed, family) for seed, family in enumerate(["conv4", "resnet10", "conv4", "resnet10", "conv4"])]
    alone, together = LOSS.gradients(asked, batched=False), LOSS.gradients(asked, batched=True)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert alone[1].unique().numel() == len(asked)


@pytest.mark.parametrize("batched", [False, True])
def test_without_the_statistics_term_no_weights_are_read(batched):
    loss = PixelLoss(tv_weight=0.0, bn_weight=0.0, l2_weight=0.0)
    _, losses, entropies = loss.gradients([question(0), question(1)], batched=batched)
    torch.testing.assert_close(losses, entropies)


@pytest.mark.parametrize("batched", [False, True])
def test_models_are_left_as_they_were(batched):
    asked = [question(0), question(1)]
    before = [{n: t.clone() for n, t in q.model.network.state_dict().items()} for q in asked]
    LOSS.gradients(asked, batched=batched)
    for q, state in zip(asked, before, strict=True):
        network = q.model.network
        assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())
        assert not network.training and not any(m._forward_pre_hooks for m in network.modules())
