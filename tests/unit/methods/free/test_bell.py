"""BELL's walk against the expansion of docs/method.md §4.2: sequential steps reward aligned gradients."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from dfml.compute.optimisers import Adam
from dfml.inversion.objective import Views
from dfml.methods.free import bell as alignment
from dfml.methods.free.bell import BellSteps, heads_of_models, outer_step
from dfml.methods.free.settings import BellSettings
from support.inversion import recovered
from support.learners import encoder, generator, wrapped
from support.zoo import CPU, SIDE

WAYS = 2
STUDENT = nn.Sequential(nn.Flatten(), nn.Linear(6, WAYS, bias=False)).double()


@pytest.fixture
def sets():
    """Recovered sets of four linear classifiers, eight images ``[3, 1, 2]`` each."""
    draws, made = generator(1), []
    for index in range(4):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(6, WAYS, bias=False)).double()
        nn.init.normal_(teacher[1].weight, 0, 3, generator=draws)
        images = 2 * torch.rand(8, 3, 1, 2, dtype=torch.float64, generator=draws)
        model = replace(wrapped(teacher, torch.arange(WAYS), index=index), side=images.shape[-1])
        made.append(recovered(model, images))
    return made


@pytest.fixture
def start():
    weight = torch.randn(WAYS, 6, dtype=torch.float64, generator=generator(2))
    return {"1.weight": weight.requires_grad_()}


@pytest.fixture
def quadratic(monkeypatch):
    """Put a loss that is quadratic in the student's weights in the place of the divergence."""
    monkeypatch.setattr(alignment, "distillation_loss", lambda s, t, kind: 0.5 * (s - t).square().sum(1).mean())


def steps_of(start, sets, rate=0.01, **settings):
    bell = BellSettings(**{"fast_learning_rate": rate, "order": "sampled", **settings})
    return BellSteps(STUDENT, start, bell, views=Views(0, True)).walk(sets, generator(3))


def walk(start, sets, rate, **settings):
    return (steps_of(start, sets, rate, **settings).end["1.weight"] - start["1.weight"]).detach()


def gradients(start, sets, *, keep_graph=False):
    """Gradient of each set's loss at the start, and of the sum of their pairwise inner products."""
    weight = start["1.weight"]
    found = []
    for item in sets:
        logits = functional_call(STUDENT, start, (item.images,))
        loss = alignment.distillation_loss(logits, item.model.network(item.images), "kl")
        found.append(torch.autograd.grad(loss, weight, create_graph=True)[0])
    products = sum(((a * b).sum() for a, b in itertools.combinations(found, 2)), torch.zeros(()))
    aligned = torch.autograd.grad(products, weight)[0] if len(sets) > 1 else torch.zeros_like(weight)
    return found if keep_graph else [g.detach() for g in found], aligned


def residual(start, sets, rate):
    """What the expansion leaves over, of the mean displacement over all orders of the sets."""
    mean = torch.stack([walk(start, order, rate) for order in itertools.permutations(sets)]).mean(0)
    found, aligned = gradients(start, sets)
    return (mean + rate * sum(found) - rate**2 / 2 * aligned).norm()


@pytest.mark.parametrize("rate", [0.1, 0.05, 0.025])
def test_alignment_identity_is_exact_for_two_quadratics(start, sets, quadratic, rate):
    assert residual(start, sets[:2], rate) < 1e-14
    _, aligned = gradients(start, sets[:2])
    assert rate**2 / 2 * aligned.norm() > 1e-4  # the term that is tested is there


@pytest.mark.parametrize("count", [2, 3, 4])
def test_alignment_residual_is_of_third_order(start, sets, count):
    errors = [residual(start, sets[:count], rate) for rate in (0.1, 0.05, 0.025)]
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(8, rel=0.15)


def test_alignment_residual_is_of_third_order_for_three_quadratics(start, sets, quadratic):
    coarse, fine = (residual(start, sets[:3], rate) for rate in (0.05, 0.025))
    assert coarse / fine == pytest.approx(8, rel=0.15)


def test_one_set_gives_the_plain_distillation_gradient(start, sets):
    found, _ = gradients(start, sets[:1])
    moved = walk(start, sets[:1], 0.01)
    assert F.cosine_similarity(-moved.flatten(), found[0].flatten(), dim=0) > 1 - 1e-10
    torch.testing.assert_close(moved, -0.01 * found[0], rtol=0, atol=1e-15)


def test_parallel_steps_have_no_second_order_term(start, sets):
    found, _ = gradients(start, sets)
    torch.testing.assert_close(walk(start, sets, 0.1, mode="parallel"), -0.1 * sum(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("fast_steps", [1, 3])
def test_parallel_is_the_sequence_for_one_set(start, sets, optimiser, fast_steps):
    both = {"fast_optimiser": optimiser, "fast_steps": fast_steps}
    for item in sets:
        parallel, sequence = (walk(start, [item], 0.1, mode=mode, **both) for mode in ("parallel", "sequential"))
        assert torch.equal(parallel, sequence) and parallel.abs().max() > 0


def one_sided(start, sets):
    """The sum of H_j g_i over sets i before j, at the start."""
    weight = start["1.weight"]
    total = torch.zeros_like(weight)
    for before, after in itertools.combinations(sets, 2):
        (known, _), (later, _) = gradients(start, [before]), gradients(start, [after], keep_graph=True)
        total += torch.autograd.grad((later[0] * known[0]).sum(), weight)[0]
    return total


@pytest.mark.parametrize("count", [2, 4])
def test_sequence_less_parallel_is_the_alignment_term(start, sets, count):
    """Divided by the squared rate, the difference tends to the term of docs/method.md §4.2, linearly in the rate."""
    expected, sets = one_sided(start, sets[:count]), sets[:count]
    errors = []
    for rate in (1e-2, 1e-3, 1e-4):
        difference = walk(start, sets, rate) - walk(start, sets, rate, mode="parallel")
        errors.append((difference / rate**2 - expected).norm() / expected.norm())
    assert errors[-1] < 1e-3
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(10, rel=0.1)


def test_the_alignment_term_over_all_orders_is_half_the_gradient_of_the_inner_products(start, sets):
    orders = list(itertools.permutations(sets[:3]))
    mean = sum(one_sided(start, order) for order in orders) / len(orders)
    _, aligned = gradients(start, sets[:3])
    torch.testing.assert_close(mean, aligned / 2, rtol=1e-9, atol=1e-12)


def test_cosine_is_that_of_the_gradients_where_they_were_taken(start, sets):
    found, _ = gradients(start, sets)
    pairs = [F.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in itertools.combinations(found, 2)]
    torch.testing.assert_close(steps_of(start, sets, mode="parallel").cosine, torch.stack(pairs).mean())
    # In sequence the second gradient is met where the first step ended.
    after = {"1.weight": (start["1.weight"] - 0.5 * found[0]).detach().requires_grad_()}
    (second,), _ = gradients(after, sets[1:2])
    expected = F.cosine_similarity(found[0].flatten(), second.flatten(), dim=0)
    torch.testing.assert_close(steps_of(start, sets[:2], 0.5).cosine, expected)
    assert steps_of(start, sets[:1]).cosine is None


def test_mean_cosine_of_known_vectors():
    ones, none = [torch.ones(2, 2), torch.ones(3)], [torch.zeros(2, 2), torch.zeros(3)]
    opposite = [-3 * part for part in ones]
    assert alignment.mean_cosine([ones, opposite]).item() == pytest.approx(-1)
    assert alignment.mean_cosine([ones, ones, opposite]).item() == pytest.approx(-1 / 3)
    assert alignment.mean_cosine([ones, none]).item() == 0


def test_both_forms_draw_the_same(start, sets):
    states = []
    for mode in ("parallel", "sequential"):
        draws = generator(3)
        bell = BellSettings(mode=mode)
        BellSteps(STUDENT, start, bell, views=Views(1, True)).walk(sets, draws)
        states.append(draws.get_state())
    assert torch.equal(*states)


def test_fast_steps_repeat_on_each_set(start, sets):
    twice = [item for item in sets[:2] for _ in range(2)]
    torch.testing.assert_close(walk(start, sets[:2], 0.01, fast_steps=2), walk(start, twice, 0.01), rtol=0, atol=0)


def test_order_is_the_sampled_one_or_shuffled_by_the_seed(start, sets):
    sampled = walk(start, sets, 0.1)
    orders = {order: walk(start, [sets[i] for i in order], 0.1) for order in itertools.permutations(range(4))}
    torch.testing.assert_close(orders[0, 1, 2, 3], sampled, rtol=0, atol=0)
    shuffled = walk(start, sets, 0.1, order="shuffled")
    expected = tuple(torch.randperm(4, generator=generator(3)).tolist())
    torch.testing.assert_close(shuffled, orders[expected], rtol=0, atol=0)
    assert expected != (0, 1, 2, 3)


def test_adam_walks_by_signs(start, sets):
    found, _ = gradients(start, sets[:1])
    moved = walk(start, sets[:1], 1e-3, fast_optimiser="adam")
    torch.testing.assert_close(moved, -1e-3 * found[0].sign(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_every_walk_starts_anew(start, sets, optimiser):
    bell = BellSettings(fast_learning_rate=0.1, fast_optimiser=optimiser)
    steps = BellSteps(STUDENT, start, bell, views=Views(0, True))
    first = steps.walk(sets, generator(3)).end["1.weight"]
    steps.walk(sets[:2], generator(4))
    assert torch.equal(steps.walk(sets, generator(3)).end["1.weight"], first)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_walk_leaves_learner_and_teachers_as_they_were(start, sets, optimiser):
    before = start["1.weight"].detach().clone()
    teachers = [item.model.network[1].weight.clone() for item in sets]
    own = STUDENT[1].weight.detach().clone()
    walk(start, sets, 0.1, fast_optimiser=optimiser)
    assert torch.equal(start["1.weight"], before) and start["1.weight"].grad is None
    assert torch.equal(STUDENT[1].weight, own)
    assert all(torch.equal(i.model.network[1].weight, t) for i, t in zip(sets, teachers, strict=True))


@pytest.mark.parametrize("kind", ["own_sgd", "shared_adam"])
def test_outer_scale(start, kind):
    """Doubled, it doubles a plain step; the first step of Adam does not change (ID5)."""
    displacement = torch.randn(WAYS, 6, dtype=torch.float64, generator=generator(4))
    moved = []
    for scale in (67.0, 134.0):
        weight = start["1.weight"].detach().clone().requires_grad_()
        shared = Adam([[weight]], [1e-3])
        end = {"1.weight": (weight + displacement).detach()}
        outer_step({"1.weight": weight}, end, BellSettings(outer=kind, outer_scale=scale), shared)
        moved.append(weight.detach() - start["1.weight"].detach())
        assert shared._steps[0][0] == (kind == "shared_adam")
        assert weight.grad is None
    expected = [67 * displacement, 134 * displacement]
    if kind == "shared_adam":
        expected = [1e-3 * displacement.sign()] * 2
    for found, wanted in zip(moved, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-12)


def taught(ways, images, *, outputs):
    """A walk on one set of a model of ``ways`` classes by a student of ``outputs``, and what the student began with."""
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(6, ways, bias=False)).double()
    nn.init.normal_(teacher[1].weight, 0, 3, generator=generator(5))
    model = replace(wrapped(teacher, torch.arange(ways)), side=images.shape[-1])
    student = nn.Sequential(nn.Flatten(), nn.Linear(6, outputs, bias=False)).double()
    weight = torch.randn(outputs, 6, dtype=torch.float64, generator=generator(2)).requires_grad_()
    settings = BellSettings(fast_learning_rate=0.1, fast_steps=1, fast_optimiser="sgd")
    steps = BellSteps(student, {"1.weight": weight}, settings, Views(0, True), ways=outputs)
    item = recovered(model, images)
    return steps.walk([item], generator(3)).end["1.weight"].detach(), weight.detach(), teacher, item


def test_a_model_of_fewer_classes_teaches_the_first_outputs():
    images = torch.rand(8, 3, 1, 2, dtype=torch.float64, generator=generator(1))
    end, start, teacher, item = taught(2, images, outputs=5)
    student = start.clone().requires_grad_()
    logits = images.flatten(1) @ student.T
    loss = F.kl_div(
        logits[:, :2].log_softmax(1), teacher(images).log_softmax(1), reduction="batchmean", log_target=True
    )
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(end, start - 0.1 * gradient)
    assert torch.equal(end[2:], start[2:])
    assert len(item.model.class_ids) == 2


def test_of_a_model_of_more_classes_as_many_are_drawn_and_renormalised():
    images = torch.rand(12, 3, 1, 2, dtype=torch.float64, generator=generator(1))
    end, start, teacher, item = taught(6, images, outputs=2)
    found = []
    for classes in itertools.combinations(range(6), 2):
        shown = images[torch.isin(item.targets, torch.tensor(classes))]
        student = start.clone().requires_grad_()
        logits = (shown.flatten(1) @ student.T).log_softmax(1)
        wanted = teacher(shown)[:, list(classes)].log_softmax(1)
        loss = F.kl_div(logits, wanted, reduction="batchmean", log_target=True)
        found.append(torch.allclose(end, start - 0.1 * torch.autograd.grad(loss, student)[0]))
    assert sum(found) == 1


def test_a_head_of_the_models_own_answers_for_all_its_classes():
    """Of six classes none is drawn: with the learner's head of two outputs that would change at every visit."""
    network = encoder(3)
    own = heads_of_models(1, ways=6, size=network.feature_size, generator=generator(4), device=CPU)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    settings = BellSettings(fast_learning_rate=0.1, fast_steps=1, fast_optimiser="sgd", heads="per_model")
    steps = BellSteps(network, parameters, settings, Views(0, True), own, ways=2)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 6)).requires_grad_(False)
    item = recovered(replace(wrapped(teacher, torch.arange(6)), side=SIDE), torch.rand(12, 3, SIDE, SIDE))
    moved = steps.walk([item], generator(3)).end["heads.weight"] - own["heads.weight"]
    assert bool((moved[0].abs().sum(1) > 0).all())
