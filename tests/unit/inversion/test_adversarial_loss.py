"""The adversarial term: where teacher and student agree, it is minus their divergence."""

import math

import pytest
import torch
import torch.nn.functional as F

from dfml.compute.seeds import torch_generator
from dfml.inversion.losses import adversarial_loss

DIVERGENCES = ("kl_ts", "kl_st", "js")
KINDS = (*DIVERGENCES, "inner_product", "l1")


def logits(seed, count=40, ways=5):
    return 2 * torch.randn(count, ways, dtype=torch.float64, generator=torch_generator(seed))


def agreeing(seed=0, count=40):
    """Logits of teacher and student that differ but have the same largest entry."""
    teacher, student = logits(seed, count), logits(seed + 1, count)
    label = torch.arange(count) % 5
    return teacher + 9 * F.one_hot(label, 5), student + 9 * F.one_hot(label, 5)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_zero_where_teacher_and_student_are_equal(kind):
    teacher = logits(0).requires_grad_()
    loss = adversarial_loss(teacher, teacher.detach() + 3, kind)
    assert abs(loss.item()) < 1e-12
    (gradient,) = torch.autograd.grad(loss, teacher)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_never_positive(kind):
    for seed in range(5):
        teacher, student = agreeing(10 * seed)
        for row in range(len(teacher)):
            assert adversarial_loss(teacher[row : row + 1], student[row : row + 1], kind) < 0


def test_values_by_hand():
    t, s = (torch.tensor([p], dtype=torch.float64) for p in ((0.8, 0.2), (0.6, 0.4)))
    forward = 0.8 * math.log(0.8 / 0.6) + 0.2 * math.log(0.2 / 0.4)
    backward = 0.6 * math.log(0.6 / 0.8) + 0.4 * math.log(0.4 / 0.2)
    middle = (0.7, 0.3)
    js = sum((p * math.log(p / m)) / 2 for q in ((0.8, 0.2), (0.6, 0.4)) for p, m in zip(q, middle, strict=True))
    published = 0.6 * (math.log(0.6) - 0.8) + 0.4 * (math.log(0.4) - 0.2)
    distance = math.log(0.8 / 0.6) + math.log(0.4 / 0.2)  # of the logits, which here are log-probabilities
    expected = {"kl_ts": forward, "kl_st": backward, "js": js, "inner_product": published, "l1": distance}
    for kind, value in expected.items():
        assert adversarial_loss(t.log(), s.log(), kind).item() == pytest.approx(-value, abs=1e-12), kind


def test_the_direction_matters_and_js_is_bounded():
    teacher, student = agreeing()
    values = {kind: adversarial_loss(teacher, student, kind).item() for kind in DIVERGENCES}
    assert len({round(value, 6) for value in values.values()}) == 3
    assert adversarial_loss(50 * teacher, student / 50, "js") >= -math.log(2)


@pytest.mark.parametrize("kind", KINDS)
def test_only_samples_on_which_both_agree_count(kind):
    teacher, student = logits(0), logits(1)
    agree = teacher.argmax(1) == student.argmax(1)
    assert 0 < agree.sum() < len(agree)
    teacher.requires_grad_()
    (gradient,) = torch.autograd.grad(adversarial_loss(teacher, student, kind), teacher)
    moved = gradient.abs().amax(1)
    assert (moved[agree] > 1e-6).all()
    assert (moved[~agree] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_is_over_the_whole_batch(kind):
    teacher, student = agreeing()
    alone = adversarial_loss(teacher, student, kind)
    stranger = torch.tensor([[9.0, 0, 0, 0, 0]]).double().expand(len(teacher), -1)
    other = torch.tensor([[0.0, 9, 0, 0, 0]]).double().expand(len(teacher), -1)
    diluted = adversarial_loss(torch.cat([teacher, stranger]), torch.cat([student, other]), kind)
    assert diluted.item() == pytest.approx(alone.item() / 2, rel=1e-12)


def test_published_form_has_the_gradient_of_the_inner_product():
    teacher, student = logits(0).requires_grad_(), logits(1)
    mask = (teacher.argmax(1) == student.argmax(1)).double()
    inner = (mask * (student.softmax(1) * teacher.softmax(1)).sum(1)).mean()
    (expected,) = torch.autograd.grad(inner, teacher)
    (found,) = torch.autograd.grad(adversarial_loss(teacher, student, "inner_product"), teacher)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_stay_finite(kind):
    teacher = torch.tensor([[900.0, 0, -900]]).requires_grad_()
    loss = adversarial_loss(teacher, torch.tensor([[500.0, -500, 0]]), kind)
    assert torch.isfinite(loss)
    assert torch.autograd.grad(loss, teacher)[0].isfinite().all()


def test_an_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="unknown adversarial loss 'cosine'"):
        adversarial_loss(logits(0), logits(1), "cosine")
