"""Known answers of the distillation losses (ID1, F02)."""

import math

import pytest
import torch
import torch.nn.functional as F

from dfml.metalearning.distillation import distillation_loss


def _gradient(student, teacher, kind):
    student = student.clone().requires_grad_()
    distillation_loss(student, teacher, kind).backward()
    return student.grad


def _logits(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("p", "q"), [(0.9, 0.6), (0.5, 0.01), (0.25, 0.25)])
def test_kl_has_its_analytic_value_on_two_classes(p, q):
    teacher = torch.tensor([[math.log(p), math.log(1 - p)]], dtype=torch.float64)
    student = torch.tensor([[math.log(q), math.log(1 - q)]], dtype=torch.float64) + 3.0  # logits have no origin
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert distillation_loss(student, teacher, "kl").item() == pytest.approx(expected, abs=1e-12)


def test_kl_is_the_mean_over_the_batch_and_never_negative():
    student, teacher = _logits(2, 6, 5)
    each = torch.stack([distillation_loss(s[None], t[None], "kl") for s, t in zip(student, teacher, strict=True)])
    assert (each > 0).all()
    torch.testing.assert_close(distillation_loss(student, teacher, "kl"), each.mean())


def test_kl_and_its_gradient_vanish_where_student_and_teacher_agree():
    teacher = _logits(6, 5)
    assert distillation_loss(teacher, teacher, "kl").item() == 0.0
    assert _gradient(teacher, teacher, "kl").abs().max() < 1e-16
    assert _gradient(teacher, teacher, "linear_prob").norm() > 1e-3


def test_kl_stays_finite_where_a_probability_underflows():
    student, teacher = torch.tensor([[0.0, -2000.0]]), torch.tensor([[-2000.0, 0.0]])
    assert distillation_loss(student, teacher, "kl").item() == pytest.approx(2000.0)


def test_the_published_loss_is_minus_the_mean_product_of_probabilities():
    student, teacher = _logits(2, 6, 5)
    published = F.kl_div(F.softmax(student, 1), F.softmax(teacher, 1), reduction="none").mean()
    assert distillation_loss(student, teacher, "linear_prob").item() == pytest.approx(published.item(), abs=1e-12)

    inner = student.clone().requires_grad_()
    product = (F.softmax(teacher, 1) * F.softmax(inner, 1)).sum()
    (-product / (6 * 5)).backward()
    torch.testing.assert_close(_gradient(student, teacher, "linear_prob"), inner.grad, rtol=0, atol=1e-12)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown distillation loss 'l2'"):
        distillation_loss(_logits(2, 3), _logits(2, 3), "l2")
