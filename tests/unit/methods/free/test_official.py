"""`free_official` runs the published code's semantics, its mistakes included."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from dfml.metalearning.inner_loop import adapt
from dfml.methods.free import loop as module
from dfml.methods.free.bell import BellSteps
from dfml.methods.free.loop import FreeLoop
from dfml.methods.free.settings import FreeOfficialSettings, FreeSettings
from dfml.zoo.pool import Pool
from support.cells import FIVE, INVERSION, REPLAY, context, free_options, official_options
from support.learners import encoder
from support.zoo import write_random_zoo

NO_WARMUP = FIVE | {"warmup": 0}
RATE = 1e-3  # of every Adam of the published code


def make(pool, *, inversion=INVERSION, **settings):
    cell = context("free_official", pool=pool, inversion_settings=inversion)
    start = cell.new_learner(pool.side)
    return FreeLoop(cell, FreeOfficialSettings(**official_options(**settings)), start)


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def test_bell_follows_the_inner_product_of_probabilities(pool, monkeypatch):
    """With one model, Adam walks by −rate · sign(g) and the shared Adam steps by the same signs (F02, F22, F23)."""
    walked = []
    original = BellSteps.walk

    def spy(self, sets, generator):
        walked.extend(sets)
        return original(self, sets, generator)

    monkeypatch.setattr(BellSteps, "walk", spy)
    loop = make(
        pool,
        inversion=INVERSION.model_copy(update={"crop_padding": 0}),
        five=NO_WARMUP | {"models_per_iteration": 1},
        replay=REPLAY | {"max_outer": 0},
    )
    start = {name: p.detach().clone().requires_grad_() for name, p in loop.parameters.items()}
    loop.iteration(0)
    (item,) = walked
    inputs = item.model.inputs(item.images)
    student, teacher = functional_call(loop.network, start, (inputs,)), item.model.network(inputs)
    product = (F.softmax(student, 1) * F.softmax(teacher, 1)).sum(1).mean() / student.shape[1]
    gradient = flat(torch.autograd.grad(-product, list(start.values()), retain_graph=True))
    moved = flat(loop.parameters.values()) - flat(start.values())
    clear = gradient.abs() > 1e-5  # a coordinate whose gradient is lost in rounding, as a bias before batch norm
    assert clear.float().mean() > 0.5
    torch.testing.assert_close(moved[clear], -RATE * gradient[clear].sign(), rtol=1e-2, atol=0)
    divergence = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean")
    true = flat(torch.autograd.grad(divergence, list(start.values())))
    assert (true[clear].sign() != gradient[clear].sign()).any()


def test_bell_and_replay_share_one_adam(pool):
    loop = make(pool, five=NO_WARMUP)
    loop.iteration(0)
    counts = {int(step) for group in loop.optimiser._steps for step in group}
    assert counts == {1 + REPLAY["max_outer"]}


def test_only_the_last_models_images_enter_the_bank(pool):
    loop = make(pool, five=NO_WARMUP | {"models_per_iteration": 4})
    last = loop.sampler.draw(0)[-1]
    loop.iteration(0)
    assert loop.bank.ready.tolist() == sorted(last.classes.tolist())
    assert loop.bank.written.max() == 1


def test_the_generator_moves_by_signs_at_every_step(pool):
    """The outer Adam is built anew each time, so no step is smaller than its first (F09)."""
    loop = make(pool)
    for iteration in range(3):
        before = flat(loop.five.network.parameters())
        loop.iteration(iteration)
        moved = (flat(loop.five.network.parameters()) - before).abs()
        assert moved.max() <= 1.001 * RATE
        assert moved.median().item() == pytest.approx(RATE, rel=1e-2)


def test_the_adversary_is_off_in_the_warm_up_and_published_after_it(pool):
    loop = make(pool)
    assert loop._objective(warm=True).adversary is None
    adversary = loop._objective(warm=False).adversary
    assert (adversary.weight, adversary.loss, adversary.student_grad) == (1.0, "inner_product", False)


def test_the_student_is_stale(pool, monkeypatch):
    """The adversary sees the fast weights of the last replay episode, not the learner (F04)."""
    reports = []
    original = module.replay

    def spy(*arguments, **keywords):
        reports.append(original(*arguments, **keywords))
        return reports[-1]

    monkeypatch.setattr(module, "replay", spy)
    loop = make(pool, five=NO_WARMUP)
    inputs = torch.randn(6, 3, pool.side, pool.side, generator=torch.Generator().manual_seed(0))
    adversary = loop._objective(warm=False).adversary
    with torch.no_grad():
        fresh = adversary.student(pool[0], inputs)
        assert torch.equal(fresh, functional_call(loop.network, loop.parameters, (inputs,)))
    loop.iteration(0)
    parameters, support = reports[-1].last_episode
    labels = torch.arange(pool.ways)
    parameters = {name: p.requires_grad_() for name, p in parameters.items()}
    expected = adapt(loop.network, parameters, support, labels, steps=REPLAY["inner_steps"], learning_rate=0.01)
    with torch.no_grad():
        stale = adversary.student(pool[0], inputs)
        torch.testing.assert_close(stale, functional_call(loop.network, expected, (inputs,)), rtol=1e-4, atol=1e-5)
        assert (stale - functional_call(loop.network, loop.parameters, (inputs,))).abs().max() > 1e-3


def test_corrected_student_is_the_learner(pool):
    loop = make(pool, five=NO_WARMUP, adversary={"student": "meta"})
    loop.iteration(0)
    inputs = torch.zeros(2, 3, pool.side, pool.side) + encoder().head.bias[0].detach()
    with torch.no_grad():
        found = loop._objective(warm=False).adversary.student(pool[0], inputs)
        assert torch.equal(found, functional_call(loop.network, loop.parameters, (inputs,)))


def test_teachers_of_a_mixed_pool_are_all_the_last_loaded(tmp_path):
    zoos = [
        write_random_zoo(tmp_path / family, family=family, architecture=family, seed=seed)
        for seed, family in enumerate(("conv4", "resnet10"))
    ]
    pool = Pool.load(zoos, label_space="global", device=torch.device("cpu"))
    loop = make(pool, five=NO_WARMUP | {"models_per_iteration": 4})
    for iteration in range(5):
        models = loop.sampler.draw(iteration)
        assert len({id(model.network) for model in models}) == 1
    loop.iteration(0)


def test_replay_ends_by_patience_alone():
    settings = FreeOfficialSettings().replay
    assert (settings.mode, settings.patience, settings.reduce) == ("patience", 10, "sum")
    assert settings.max_outer >= 1000


@pytest.mark.parametrize("profile", ["official", "corrected"])
def test_what_a_profile_says_is_what_the_loop_works_with(pool, profile):
    """F17, F18, F19, F27 and F43 by the parts that do the work."""
    official = profile == "official"
    options = official_options() if official else free_options(replay=REPLAY | {"mode": "fixed", "first_order": False})
    settings = (FreeOfficialSettings if official else FreeSettings)(**options)
    cell = context("free_official" if official else "free", pool=pool)
    loop = FreeLoop(cell, settings, cell.new_learner(pool.side))
    assert (loop.views.per_sample, loop.views.resize) == ((False, "crop") if official else (True, "bilinear"))
    assert (
        all(objective.views is loop.views for objective in loop.objectives.values()) and loop.bell.views is loop.views
    )
    assert (loop.episodes.domains, loop.episodes.side) == (("mixed", "canvas") if official else ("one", "native"))
    assert loop.meta_step.reduce == ("sum" if official else "mean")
    assert loop.meta_step.first_order is settings.replay.first_order is False
    assert loop.sampler.hetero == settings.hetero_sampling == ("shared_last" if official else "per_model")


def test_a_first_order_replay_reaches_the_meta_step(pool):
    assert make(pool, replay=REPLAY | {"patience": 1, "first_order": True}).meta_step.first_order


def test_images_are_recovered_against_the_student_after_the_warm_up_alone(pool, monkeypatch):
    """F03, F04: as often as the generator steps on a model."""
    asked, original = [], FreeLoop._student
    monkeypatch.setattr(FreeLoop, "_student", lambda self, *a: asked.append(1) or original(self, *a))
    loop = make(pool)
    counts = []
    for iteration in range(loop.warmup + 2):
        before = len(asked)
        loop.iteration(iteration)
        counts.append(len(asked) - before)
    steps = loop.five_settings.models_per_iteration * loop.five_settings.steps
    assert loop.warmup and counts == [0] * loop.warmup + [steps] * 2
