"""Every inverter on an easy teacher: it finds images of the asked classes and leaves the teacher as it was (IC2)."""

import copy

import pytest
import torch
import torch.nn.functional as F

from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator, recover_with_five
from dfml.inversion.inner_steps import draw_generator
from dfml.inversion.objective import make_objective
from dfml.inversion.one_by_one import one_by_one
from dfml.inversion.recovered import interleaved_targets
from dfml.jobs.checkpoint import Checkpoint
from dfml.zoo.pool import Pool
from support.inversion import inversion_settings
from support.zoo import CPU, SIDE, WAYS, QuietJob, save_pattern_images, train_tiny_zoo

ONE_BY_ONE = ("gen_ce", "gen_bn", "cmi", "deep_inversion")
EASY = inversion_settings(
    latent=32,
    width=8,
    images_per_class=6,
    crop_padding=1,
    per_model={"steps": 60, "learning_rate": 0.01, "latent_learning_rate": 0.01, "bn_weight": 0.1},
    cmi={"steps": 60, "learning_rate": 0.01, "bn_weight": 0.1, "projection": 16, "batches": 2},
    deep_inversion={"steps": 60},
    fast={"warmup": 0, "iterations": 60, "bn_weight": 0.1, "outer_learning_rate": 0.001, "restart_at": None},
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two trained models of three classes each, made surer of themselves."""
    root = tmp_path_factory.mktemp("trained")
    images = save_pattern_images(root / "images", classes=6, per_class=20)
    zoo = train_tiny_zoo(images, root / "zoo", width=8, judges=0, epochs=60)
    pool = Pool.load([zoo], label_space="global", device=CPU)
    for model in pool:
        model.network.head.weight.mul_(4)
        model.network.head.bias.mul_(4)
    return pool


@pytest.fixture(scope="module")
def inverted(pool):
    """What every inverter that works model by model recovers from the first model."""
    arms = {name: one_by_one(name, EASY, side=SIDE, device=CPU) for name in ONE_BY_ONE}
    return {name: arm.recover(pool[0], torch_generator(0)) for name, arm in arms.items()}


def scores(model, images, targets):
    with torch.no_grad():
        logits = model.logits(images)
    return F.cross_entropy(logits, targets).item(), (logits.argmax(1) == targets).float().mean().item()


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_cross_entropy_falls_and_the_teacher_recognises_its_classes(pool, inverted, name):
    targets = interleaved_targets(WAYS, EASY.images_per_class, CPU)
    noise = torch.rand(len(targets), 3, SIDE, SIDE, generator=torch_generator(0, "noise"))
    before = scores(pool[0], noise, targets)
    assert before[1] < 0.7
    for item in inverted[name]:
        assert torch.equal(item.targets, targets)
        assert item.curve.shape == (60,)
        assert item.curve[-10:].mean() < 0.5 * item.curve[:3].mean()
        loss, accuracy = scores(pool[0], item.images, targets)
        assert accuracy > 0.8 and loss < 0.3 * before[0]
        assert item.images.shape == (len(targets), 3, SIDE, SIDE)
        assert item.images.min() >= 0 and item.images.max() <= 1


def test_fast_gets_better_from_one_model_to_the_next(pool):
    own = EASY.fast
    objective = make_objective(
        EASY, ce_weight=own.ce_weight, bn_weight=own.bn_weight, statistics_momentum=own.statistics_momentum
    )
    five = MetaGenerator(draw_generator(EASY, SIDE, torch_generator(0), law="default"), own)
    bank = ImageBank(len(pool.class_names), slots=3, images_per_class=EASY.images_per_class, side=SIDE, device=CPU)

    def recognised():
        """How many of the asked images both models recognise after the inner steps."""
        items = [
            five.adapt(model, objective, images_per_class=EASY.images_per_class, generator=torch_generator(seed))[0]
            for model in pool
            for seed in range(8)
        ]
        return sum(scores(item.model, item.images, item.targets)[1] for item in items) / len(items)

    before = recognised()
    recovery = recover_with_five(five, pool, bank, objective, seed=0, checkpoint=Checkpoint(None, ""), job=QuietJob())
    assert len(recovery.history) == 60
    assert sum(recovery.history[-15:]) < 0.8 * sum(recovery.history[:15])
    after = recognised()
    assert after > before + 0.05


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_the_teacher_is_untouched(pool, name):
    quick = inversion_settings()
    model = pool[1]
    before = copy.deepcopy(model.network.state_dict())
    one_by_one(name, quick, side=SIDE, device=CPU).recover(model, torch_generator(0))
    assert all(torch.equal(before[key], value) for key, value in model.network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())
    assert not any(module.training for module in model.network.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.network.modules())


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_a_model_gives_the_same_whatever_came_before(pool, name):
    """The places of work that are used again remember nothing."""
    arm = one_by_one(name, inversion_settings(), side=SIDE, device=CPU)
    first = arm.recover(pool[1], torch_generator(3))
    arm.recover(pool[0], torch_generator(0))
    again = arm.recover(pool[1], torch_generator(3))
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))


def test_a_name_that_is_no_inverter_is_refused():
    with pytest.raises(ValueError, match="unknown inverter 'five'"):
        one_by_one("five", EASY, side=SIDE, device=CPU)
