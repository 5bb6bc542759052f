"""The robust writer of weights: what it must reduce to, and that a run continues to the same bits."""

import pytest
import torch

from dfml.compute.state import collect, restore
from dfml.methods.fusion.dro import RobustFusion, Standardised, fit
from dfml.methods.fusion.settings import DroSettings
from support.cells import context
from support.learners import generator

SMALL = {"embedding": 4, "hidden": 16, "chunk": 5, "batch": 3, "learning_rate": 0.01}


def targets(models=3, weights=12, seed=0):
    return torch.randn(models, weights, generator=generator(seed))


def fusion(rows, seed=1, **settings):
    return RobustFusion(rows, DroSettings(**{**SMALL, **settings}), generator(seed))


def test_standardised_weights_are_restored():
    states = [{"a": torch.randn(2, 3, generator=generator(s)) * 5 + 2, "b": torch.full((4,), 7.0)} for s in range(3)]
    models = Standardised(states)
    assert models.rows.shape == (3, 10)
    torch.testing.assert_close(models.rows[:, :6].mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(models.rows[:, :6].std(correction=0), torch.tensor(1.0))
    for row, state in zip(models.rows, states, strict=True):
        restored = models.restore(row)
        assert restored.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(restored[name], value)


def test_heads_of_several_sides_are_left_out():
    body = [torch.randn(2, 3, generator=generator(s)) for s in range(2)]
    alone = Standardised([{"body": weight} for weight in body])
    heads = Standardised([{"body": weight, "head": torch.zeros(2, 1 + 3 * i)} for i, weight in enumerate(body)])
    assert heads.shapes == alone.shapes
    assert torch.equal(heads.rows, alone.rows)


def test_every_weight_is_written_once():
    written = fusion(targets(weights=12)).writer(torch.zeros(2, 4))  # three chunks of five, the last cut short
    assert written.shape == (2, 12)
    assert len(written[0].unique()) == 12


def test_plain_regression_fits_the_models():
    own = fusion(targets(), ascent_steps=0)
    losses = [own.step().item() for _ in range(600)]
    assert losses[0] > 0.5
    assert losses[-1] < 0.02
    torch.testing.assert_close(own.writer(own.embeddings), targets(), atol=0.4, rtol=0)


def test_a_shared_embedding_gives_the_average():
    own = fusion(targets(), ascent_steps=0)
    with torch.no_grad():
        own.embeddings.copy_(own.embeddings[:1].expand_as(own.embeddings).clone())
    own.moved.pop()  # the embeddings stay
    own.optimiser = type(own.optimiser)([own.moved], [0.01])
    for _ in range(600):
        own.step()
    torch.testing.assert_close(own.fused(), targets().mean(0), atol=0.05, rtol=0)


def test_the_dearer_the_nearer_and_an_infinite_price_is_plain_regression():
    rows = torch.arange(3)

    def displacement(penalty):
        own = fusion(targets(), penalty=penalty, ascent_rate=0.1, ascent_steps=20)
        return (own._worst(rows) - own.embeddings.detach()).norm().item()

    free, cheap, dear, infinite = (displacement(penalty) for penalty in (0.0, 0.5, 10.0, 1e6))
    assert free > 1.5 * cheap > 3 * dear
    assert infinite < 1e-5 * free


def test_the_worst_point_balances_gain_and_price():
    """Where the ascent ends, the slope of the regression is that of λ times the squared distance."""
    own, rows = fusion(targets(), penalty=0.5, ascent_rate=0.1, ascent_steps=400), torch.arange(3)
    centre, worst = own.embeddings.detach()[rows], own._worst(rows).requires_grad_()
    (slope,) = torch.autograd.grad(own._regression(worst, rows).sum(), worst)
    torch.testing.assert_close(slope, 2 * 0.5 * (worst.detach() - centre), rtol=1e-3, atol=1e-4)


def test_ascent_finds_worse_embeddings():
    own = fusion(targets(), penalty=0.0, ascent_rate=0.1, ascent_steps=20)
    for _ in range(200):
        own.step()
    rows = torch.arange(3)
    at_home, worst = own._regression(own.embeddings, rows), own._regression(own._worst(rows), rows)
    assert worst.mean() > 1.5 * at_home.mean()


@pytest.mark.parametrize("done", [1, 3])
def test_a_resumed_run_reaches_the_same_bits(done):
    straight, broken = fusion(targets()), fusion(targets())
    for _ in range(5):
        straight.step()
    for _ in range(done):
        broken.step()
    resumed = fusion(targets(), seed=9)
    restore(resumed, collect(broken))
    for _ in range(5 - done):
        resumed.step()
    assert all(torch.equal(a, b) for a, b in zip(straight.moved, resumed.moved, strict=True))


def test_the_method_returns_a_learner(pool):
    options = DroSettings(**SMALL, iterations=3).model_dump(mode="json")
    fitted = fit(context("dro", pool=pool, options=options))
    ((state,),) = (snapshot.states for snapshot in fitted.snapshots)
    own = dict(pool[0].network.named_parameters())
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in own.items()}
    assert state["head.weight"].abs().max() == 0
    assert [row["iteration"] for row in fitted.history] == [1, 2, 3]
