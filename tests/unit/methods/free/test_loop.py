"""The loop of FREE: what enters the bank, what moves when, and what is counted."""

import itertools

import pytest
import torch

from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import MetaGenerator
from dfml.inversion.inner_steps import draw_generator
from dfml.methods.free.loop import FreeLoop
from dfml.methods.free.settings import FreeSettings
from support.cells import FIVE, INVERSION, REPLAY, context, free_options, write_inversion
from support.zoo import SIDE, WAYS


def make(pool, *, inversion=None, seed=0, shots=1, **settings):
    cell = context("free", pool=pool, inversion=inversion, seed=seed, shots=shots)
    start = cell.new_learner(pool.side)
    return FreeLoop(cell, FreeSettings(**free_options(**settings)), start)


def state_of(loop):
    return {name: p.detach().clone() for name, p in loop.parameters.items()}


@pytest.mark.parametrize("pool_add", ["all", "last"])
def test_images_of_all_models_or_of_the_last_enter_the_bank(pool, pool_add):
    loop = make(pool, pool_add=pool_add, five=FIVE | {"warmup": 0})
    models = loop.sampler.draw(0)
    loop.iteration(0)
    expected = torch.zeros(len(pool.class_names), dtype=torch.int64)
    for model in models if pool_add == "all" else models[-1:]:
        expected[model.classes] += 1
    assert torch.equal(loop.bank.written, expected)
    _, labels, sources = loop.bank.everything()
    entered = {model.index for model in (models if pool_add == "all" else models[-1:])}
    assert set(sources.tolist()) == entered
    for label, source in zip(labels.tolist(), sources.tolist(), strict=True):
        assert label in pool[source].classes


def test_warm_up_trains_the_generator_alone(pool):
    loop = make(pool)
    learner, generator = state_of(loop), [p.detach().clone() for p in loop.five.network.parameters()]
    quantities = loop.iteration(0)
    assert quantities.keys() == {"teacher_ce"}
    assert loop.bank.images == 0
    assert all(torch.equal(loop.parameters[name], p) for name, p in learner.items())
    assert not all(torch.equal(a, b) for a, b in zip(loop.five.network.parameters(), generator, strict=True))


def test_after_the_warm_up_the_learner_moves_by_bell_and_by_replay(pool):
    moved = {}
    for name, replay in (("bell", REPLAY | {"max_outer": 0}), ("both", REPLAY | {"mode": "fixed"})):
        loop = make(pool, replay=replay, five=FIVE | {"warmup": 0})
        start = state_of(loop)
        quantities = loop.iteration(0)
        assert ("replay_loss" in quantities) == (name == "both")
        assert {"teacher_ce", "distillation"} <= quantities.keys()
        moved[name] = loop.parameters["head.weight"].detach() - start["head.weight"]
    assert moved["bell"].abs().max() > 0
    assert not torch.equal(moved["bell"], moved["both"])


def test_offline_reads_the_bank_and_changes_neither_it_nor_the_generator(pool, tmp_path):
    loop = make(pool, inversion=write_inversion(tmp_path / "inversion", pool), generator="inversion", online=False)
    written = loop.bank.written.clone()
    generator = [p.detach().clone() for p in loop.five.network.parameters()]
    start = state_of(loop)
    quantities = loop.iteration(0)
    told = {"distillation", "bell_distance", "bell_share", "bell_cosine"}
    assert quantities.keys() == {*told, "replay_loss", "replay_accuracy", "train_episodes"}
    assert torch.equal(loop.bank.written, written)
    assert all(torch.equal(a, b) for a, b in zip(loop.five.network.parameters(), generator, strict=True))
    assert loop.teacher_passes == FIVE["models_per_iteration"]
    assert not torch.equal(loop.parameters["head.weight"], start["head.weight"])


def test_the_inversion_stage_is_continued_without_a_warm_up(pool, tmp_path):
    folder = write_inversion(tmp_path / "inversion", pool)
    loop = make(pool, inversion=folder, generator="inversion")
    assert loop.warmup == 0
    kept = ImageBank.load(folder / "bank.npz", torch.device("cpu"))
    assert torch.equal(loop.bank.pixels, kept.pixels)
    images = loop.bank.images
    loop.iteration(0)
    added = FIVE["models_per_iteration"] * WAYS * INVERSION.images_per_class
    assert images < loop.bank.images <= images + added


@pytest.mark.parametrize("online", [True, False])
def test_the_generators_adam_goes_on_where_the_inversion_left_it(pool, tmp_path, online):
    folder = write_inversion(tmp_path / "inversion", pool)
    five = MetaGenerator(draw_generator(INVERSION, SIDE, torch.Generator(), law="default"), INVERSION.five)
    five.outer_step([[torch.ones_like(p) for p in five.network.parameters()]])
    five.save(folder)
    found = make(pool, inversion=folder, generator="inversion", online=online).five.stored
    assert found.keys() == five.stored.keys()
    for name, tensor in found.items():
        kept = online or not name.startswith("outer.")  # a generator that stays as it is needs none
        assert torch.equal(tensor, five.stored[name] if kept else torch.zeros_like(tensor))


def test_teacher_passes_are_counted_on_the_models(pool, monkeypatch):
    calls = []
    for network in {id(model.network): model.network for model in pool}.values():
        original = type(network).forward
        monkeypatch.setattr(network, "forward", lambda x, n=network, f=original: calls.append(1) or f(n, x))
    loop = make(pool)
    for iteration in range(3):
        loop.iteration(iteration)
    assert loop.teacher_passes == len(calls) == 3 * 2 * 2 + 2 * 2  # FIVE: m·k in each; BELL: m after the warm-up


def test_off_parallel_and_sequence_end_in_different_learners(pool):
    ends = {}
    for mode in ("off", "parallel", "sequential"):
        loop = make(pool, five=FIVE | {"warmup": 0}, bell={"mode": mode})
        loop.run()
        ends[mode] = torch.cat([p.detach().flatten() for p in loop.parameters.values()])
    distances = {(a, b): (ends[a] - ends[b]).norm().item() for a, b in itertools.combinations(ends, 2)}
    assert min(distances.values()) > 0
    # To first order the two forms of BELL are one.
    assert distances["parallel", "sequential"] < min(distances["off", "parallel"], distances["off", "sequential"])


@pytest.mark.parametrize("online", [True, False])
def test_without_bell_nothing_is_asked_drawn_or_timed_for_it(pool, tmp_path, online):
    given = {"online": online, "generator": "inversion"}
    inversion = write_inversion(tmp_path / "inversion", pool)
    loop = make(pool, inversion=inversion, bell={"mode": "off"}, replay=REPLAY | {"max_outer": 0}, **given)
    drawn = loop.generator.get_state()
    quantities = loop.iteration(0)
    assert quantities.keys() == ({"teacher_ce", "train_episodes"} if online else {"train_episodes"})
    assert loop.teacher_passes == (FIVE["models_per_iteration"] * FIVE["steps"] if online else 0)
    assert torch.equal(loop.generator.get_state(), drawn) != online  # FIVE draws latents
    assert loop.bell is None and loop.timeline.seconds["bell"] == 0


def test_distance_and_share_say_how_far_bell_moved_the_learner(pool):
    loop = make(pool, five=FIVE | {"warmup": 0}, bell={"outer_scale": 0.5})
    between = []
    replayed = loop._replay
    loop._replay = lambda: between.append(state_of(loop)) or replayed()
    start = state_of(loop)
    quantities = loop.iteration(0)
    (middle,), end = between, state_of(loop)
    by_bell, by_replay = (
        torch.cat([(b[name] - a[name]).flatten() for name in a]).norm() for a, b in ((start, middle), (middle, end))
    )
    torch.testing.assert_close(quantities["bell_distance"], by_bell)
    torch.testing.assert_close(quantities["bell_share"], by_bell / (by_bell + by_replay))
    assert 0 < quantities["bell_share"] < 1


@pytest.mark.parametrize("outer", ["own_sgd", "shared_adam"])
def test_with_heads_of_the_models_bell_leaves_the_learners_own_head(pool, outer):
    bell = {"heads": "per_model", "outer": outer}
    loop = make(pool, five=FIVE | {"warmup": 0}, bell=bell, replay=REPLAY | {"max_outer": 0})
    models = {model.index for model in loop.sampler.draw(0)}
    start, heads = state_of(loop), {name: p.detach().clone() for name, p in loop.bell.heads.items()}
    loop.iteration(0)
    moved = {name for name, p in loop.parameters.items() if not torch.equal(p, start[name])}
    assert moved and not moved & {"head.weight", "head.bias"}
    for name, p in loop.bell.heads.items():
        assert p.shape[:2] == (len(pool), WAYS)
        assert {i for i in range(len(pool)) if not torch.equal(p[i], heads[name][i])} == models
    assert loop.parameters.keys() == start.keys()  # they are no part of the learner


def test_episodes_are_those_that_replay_was_given(pool):
    loop = make(pool)
    _, history = loop.run()
    each = REPLAY["max_outer"] * REPLAY["episodes"]
    assert [row.get("train_episodes") for row in history] == [None, each, 2 * each, 3 * each]
    assert loop.train_episodes == 3 * each


def test_run_keeps_iterates_and_a_history(pool):
    loop = make(pool, iterations=4, snapshots=2)
    snapshots, history = loop.run()
    assert [s.iteration for s in snapshots] == [0, 2, 4]  # of BELL and replay, without the warm-up
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5]
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds) and seconds[-1] == snapshots[-1].seconds == loop.timeline.total
    assert loop.timeline.seconds.keys() == {"inversion", "bell", "replay"} and min(loop.timeline.seconds.values()) > 0
    (last,) = snapshots[-1].states
    assert all(torch.equal(last[name], p) for name, p in loop.parameters.items())
    assert not torch.equal(snapshots[0].states[0]["head.weight"], last["head.weight"])
    assert {p.data_ptr() for p in last.values()}.isdisjoint(p.data_ptr() for p in loop.parameters.values())


def test_fewer_iterations_than_snapshots_keep_each_one(pool):
    snapshots, _ = make(pool, iterations=1, snapshots=5).run()
    assert [s.iteration for s in snapshots] == [0, 1]


def test_pool_and_starting_point_stay_as_they_were(pool):
    cell = context("free", pool=pool)
    start = cell.new_learner(pool.side)
    before = [p.detach().clone() for p in start.parameters()]
    teachers = [{n: t.clone() for n, t in model.network.state_dict().items()} for model in pool]
    FreeLoop(cell, FreeSettings(**free_options()), start).run()
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), before, strict=True))
    for model, expected in zip(pool, teachers, strict=True):
        assert all(torch.equal(t, expected[n]) for n, t in model.network.state_dict().items())
        assert not model.network.training
        assert all(p.grad is None and not p.requires_grad for p in model.network.parameters())


def test_seed_and_shots_choose_the_stream(pool):
    def run(**changes):
        (_, snapshot), _ = make(pool, iterations=1, snapshots=1, **changes).run()
        return snapshot.states[0]["head.weight"]

    first = run()
    assert torch.equal(run(), first)
    assert not torch.equal(run(seed=1), first)
    assert not torch.equal(run(shots=2), first)


def test_reading_the_bank_passes_over_models_whose_classes_it_lacks(pool, tmp_path):
    loop = make(pool, inversion=write_inversion(tmp_path / "inversion", pool), generator="inversion", online=False)
    known = pool[0]
    loop.bank.written[:] = 0
    loop.bank.written[known.classes] = 1
    readable = {m.index for m in pool if set(m.classes.tolist()) <= set(known.classes.tolist())}
    for iteration in range(6):
        read = {item.model.index for item in loop._recover(iteration, warm=False)}
        assert read and read <= readable
    loop.bank.written[:] = 0
    with pytest.raises(DfmlError, match="classes of no model"):
        loop._recover(0, warm=False)
