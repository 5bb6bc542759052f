"""Meta-learning from a static bank: the kind of learner, its cost, what it learns, and that it resumes."""

import math

import pytest
import torch

from dfml.artefacts.inversion import BANK
from dfml.catalogue import METHODS, section_key
from dfml.compute.seeds import torch_generator
from dfml.compute.state import collect, restore
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.methods.inversion_then_meta.loop import StaticBankLoop, fit
from dfml.methods.inversion_then_meta.settings import InversionThenMetaSettings
from support.cells import REPLAY, InterruptedJobError, InterruptedProgress, context, fit_cell, write_inversion
from support.inversion import recovered
from support.zoo import CPU, SIDE, WAYS

STATIC = [name for name in METHODS if section_key(name) == "inversion_then_meta"]
PER_CLASS = 6


@pytest.fixture(scope="module")
def noise(pool, tmp_path_factory):
    """A bank of noise."""
    return write_inversion(tmp_path_factory.mktemp("noise") / "inversion", pool)


@pytest.fixture(scope="module")
def separable(pool, tmp_path_factory):
    """A bank in which every class has a colour of its own, under noise."""
    folder = tmp_path_factory.mktemp("separable")
    bank = ImageBank(len(pool.class_names), slots=2, images_per_class=PER_CLASS, side=SIDE, device=CPU)
    draws = torch_generator(0, "separable")
    colours = torch.rand(len(pool.class_names), 3, 1, 1, generator=draws)
    for model in pool:
        images = colours[model.classes.repeat(PER_CLASS)].expand(-1, -1, SIDE, SIDE)
        bank.add(recovered(model, (images + 0.3 * torch.randn(images.shape, generator=draws)).clamp(0, 1)))
    bank.save(folder / BANK)
    return folder


def options(**changes):
    section = {"iterations": 3, "replay": REPLAY | {"mode": "fixed"}, "snapshots": 2}
    return InversionThenMetaSettings(**(section | changes)).model_dump(mode="json")


def test_five_methods_share_the_module_and_have_banks_of_their_own():
    assert sorted(STATIC) == ["cmi", "deep_inversion", "fast", "gen_bn", "gen_ce"]
    assert all(METHODS[name].inverter == name and METHODS[name].fit == f"{fit.__module__}:fit" for name in STATIC)


@pytest.mark.parametrize("kind", ["maml", "anil", "protonet"])
def test_the_learner_is_of_the_kind_asked_for(pool, noise, kind):
    fitted = fit(context("gen_bn", pool=pool, inversion=noise, options=options(learner=kind)))
    assert (fitted.finetune, fitted.head_only) == (kind != "protonet", kind == "anil")
    assert (fitted.teacher_passes, fitted.train_episodes) == (0, 3 * 2 * 2)
    assert [s.iteration for s in fitted.snapshots] == [0, 2, 3]
    assert [row.keys() for row in fitted.history] == [{"iteration", "seconds", "replay_loss", "replay_accuracy"}] * 3
    assert set(fitted.stages) == {"replay"}
    first, last = fitted.snapshots[0].states[0], fitted.snapshots[-1].states[0]
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    idle = {f"blocks.{block}.bias" for block in (0, 4, 8, 12)}  # batch norm cancels them
    assert moved - idle == {name for name in first if kind != "protonet" or not name.startswith("head.")} - idle


@pytest.mark.parametrize("kind", ["maml", "anil", "protonet"])
def test_replay_phases_reduce_the_loss_on_a_separable_bank(pool, separable, kind):
    replay = {"mode": "fixed", "max_outer": 10, "episodes": 2, "queries": 3, "inner_steps": 2, "learning_rate": 0.01}
    asked = options(learner=kind, start="zero_head", iterations=8, replay=replay | {"inner_learning_rate": 0.1})
    history = fit(context("cmi", pool=pool, inversion=separable, options=asked)).history
    losses, accuracies = ([row[name] for row in history] for name in ("replay_loss", "replay_accuracy"))
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    assert sum(accuracies[-2:]) > sum(accuracies[:2])
    if kind == "maml":
        assert losses[0] < 1.5 * math.log(WAYS)


@pytest.mark.parametrize("start", ["random", "zero_head", "best_model"])
def test_where_it_starts(pool, noise, start):
    cell = context("gen_bn", pool=pool, inversion=noise, options=options(start=start))
    (first,) = fit(cell).snapshots[0].states
    for name, expected in cell.starting_learner(start).named_parameters():
        assert torch.equal(first[name], expected)


@pytest.mark.parametrize("kind", ["maml", "protonet"])
@pytest.mark.parametrize("mode", ["fixed", "patience"])
def test_an_interrupted_run_ends_with_the_same_bits(zoo, noise, tmp_path, kind, mode):
    asked = options(learner=kind, replay=REPLAY | {"mode": mode, "patience": 1})

    def run(name, **changes):
        folder = fit_cell(tmp_path / name, "gen_ce", asked, zoos=[zoo], inversion=noise, **changes)
        return (folder / "learner.safetensors").read_bytes()

    whole = run("whole")
    with pytest.raises(InterruptedJobError):
        run("resumed", progress=InterruptedProgress(2))
    assert run("resumed") == whole


def test_a_loop_continues_from_its_state(pool, noise):
    settings = InversionThenMetaSettings.model_validate(options())
    cell = context("gen_bn", pool=pool, inversion=noise)
    straight, broken, resumed = (StaticBankLoop(cell, settings) for _ in range(3))
    for i in range(3):
        straight.iteration(i)
    broken.iteration(0)
    restore(resumed, collect(broken))
    for i in (1, 2):
        resumed.iteration(i)
    assert all(torch.equal(straight.parameters[name], p) for name, p in resumed.parameters.items())


def test_a_loss_that_is_not_finite_names_the_key(pool, noise):
    asked = options(replay=REPLAY | {"mode": "fixed", "inner_learning_rate": 1e38})
    with pytest.raises(DfmlError, match=r"inversion_then_meta\.replay\.inner_learning_rate"):
        fit(context("gen_bn", pool=pool, inversion=noise, options=asked))


def test_no_outer_step_leaves_the_start(pool, noise):
    fitted = fit(context("gen_bn", pool=pool, inversion=noise, options=options(replay=REPLAY | {"max_outer": 0})))
    first, last = fitted.snapshots[0].states[0], fitted.snapshots[-1].states[0]
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert "replay_loss" not in fitted.history[0]


def test_a_bank_smaller_than_an_episode_is_refused(pool, noise):
    asked = options(replay=REPLAY | {"queries": 9})
    with pytest.raises(DfmlError, match=r"raise `inversion\.images_per_class`"):
        fit(context("gen_bn", pool=pool, inversion=noise, options=asked))
