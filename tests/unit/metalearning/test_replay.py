"""Cross-task replay: which episodes it draws, what it moves, and when it stops."""

import itertools

import pytest
import torch
from torch import nn

from dfml.compute.optimisers import Adam
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.metalearning import meta_step
from dfml.metalearning.bank_episodes import BankEpisodes
from dfml.metalearning.inner_loop import adapt, parameters_of
from dfml.metalearning.meta_gradient import MetaGradient
from dfml.metalearning.meta_step import MetaStep
from dfml.metalearning.replay import last_fast_weights, replay
from dfml.metalearning.settings import ReplaySettings
from dfml.zoo.pool import Pool
from support.inversion import recovered
from support.learners import SIDE, WAYS, encoder, generator, wrapped
from support.zoo import random_model

SETTINGS = {"episodes": 2, "queries": 3, "inner_steps": 2, "inner_learning_rate": 0.1, "learning_rate": 0.01}
MODELS, PER_CLASS = 3, 6


@pytest.fixture
def bank():
    """Three models with three classes each; the grey level of every image is ten times its class."""
    bank = ImageBank(MODELS * WAYS, slots=2, images_per_class=PER_CLASS, side=SIDE, device=torch.device("cpu"))
    for index in range(MODELS):
        classes = torch.arange(WAYS) + WAYS * index
        grey = (10 * classes.repeat(PER_CLASS) / 255)[:, None, None, None].expand(-1, 3, SIDE, SIDE)
        bank.add(recovered(wrapped(nn.Identity(), classes, index=index), grey))
    return bank


@pytest.fixture
def network():
    return encoder()


def run(network, bank, parameters=None, **settings):
    parameters = parameters or parameters_of(network)
    chosen = ReplaySettings(**(SETTINGS | settings))
    optimiser = Adam([list(parameters.values())], [chosen.learning_rate])
    report = replay(
        step_of(network, parameters, chosen, optimiser),
        BankEpisodes(bank, pool_of_the_bank(), shots=1, queries=chosen.queries, recolour=chosen.recolour),
        chosen,
        generator=generator(0),
        keep_last=True,
    )
    return report, parameters


def pool_of_the_bank():
    norm = {"mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}
    models = [
        random_model(seed=i, network=nn.Identity(), classes=torch.arange(WAYS) + WAYS * i, **norm)
        for i in range(MODELS)
    ]
    return Pool(models, [str(label) for label in range(MODELS * WAYS)])


def step_of(network, parameters, settings, optimiser):
    return MetaStep(
        network,
        parameters,
        optimiser,
        ways=WAYS,
        steps=settings.inner_steps,
        learning_rate=settings.inner_learning_rate,
        first_order=settings.first_order,
        reduce=settings.reduce,
    )


def test_episodes_mix_the_classes_of_several_models(bank):
    _, support, query = bank.sample_episodes(100, ways=WAYS, shots=1, queries=2, generator=generator(0))
    classes = (support[:, :, 0, 0, 0] * 255 / 10).round().long()
    assert all(len(set(row)) == WAYS for row in classes.tolist())
    sources = [{label // WAYS for label in row} for row in classes.tolist()]
    assert sum(len(models) > 1 for models in sources) > 80
    assert set.union(*sources) == set(range(MODELS))
    queried = (query[:, :, 0, 0, 0] * 255 / 10).round().long()
    assert torch.equal(queried, classes.repeat_interleave(2, 1))


def _scripted(monkeypatch, accuracies):
    """Replay whose outer steps have these query accuracies; returns the list of steps taken."""
    taken, values = [], iter(accuracies)

    def fake(network, parameters, *arguments, **keywords):
        taken.append(keywords)
        zeros = {name: torch.zeros_like(p) for name, p in parameters.items()}
        return MetaGradient(torch.tensor(1.0), torch.tensor(next(values)), zeros)

    monkeypatch.setattr(meta_step, "meta_gradient", fake)
    return taken


@pytest.mark.parametrize("patience", [1, 4])
def test_constant_accuracy_ends_after_patience_and_one_steps(monkeypatch, network, bank, patience):
    taken = _scripted(monkeypatch, itertools.repeat(0.4))
    report, _ = run(network, bank, mode="patience", patience=patience, max_outer=30)
    assert report.steps == len(taken) == patience + 1


def test_an_improvement_renews_the_patience(monkeypatch, network, bank):
    _scripted(monkeypatch, [0.3, 0.2, 0.4, 0.4, 0.1, 0.9])
    report, _ = run(network, bank, mode="patience", patience=2, max_outer=30)
    assert report.steps == 5
    assert report.accuracy.item() == pytest.approx(100 * (0.3 + 0.2 + 0.4 + 0.4 + 0.1) / 5)


def test_the_cap_holds_under_patience_and_is_the_length_when_fixed(monkeypatch, network, bank):
    _scripted(monkeypatch, (0.01 * n for n in itertools.count()))
    assert run(network, bank, mode="patience", patience=2, max_outer=7)[0].steps == 7
    _scripted(monkeypatch, itertools.repeat(0.4))
    assert run(network, bank, mode="fixed", patience=2, max_outer=7)[0].steps == 7


def test_accuracies_are_read_only_where_replay_could_stop(monkeypatch, network, bank):
    taken = _scripted(monkeypatch, [0.5, 0.4, 0.3, 0.6, 0.1, 0.1, 0.1, 0.1])
    reads, read = [], torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda value: reads.append(len(taken)) or read(value))
    report, _ = run(network, bank, mode="patience", patience=4, max_outer=30)
    assert report.steps == 8
    # Four steps before the first look, then as many as must follow whatever they bring.
    assert reads == [4] * 4 + [8] * 4


def test_settings_reach_the_meta_gradient(monkeypatch, network, bank):
    taken = _scripted(monkeypatch, [0.4])
    run(network, bank, mode="fixed", max_outer=1, reduce="sum", first_order=True)
    (keywords,) = taken
    expected = {"ways": WAYS, "steps": 2, "learning_rate": 0.1, "first_order": True, "reduce": "sum"}
    assert keywords == expected | {"head_only": False, "form": None}


def test_replay_moves_the_parameters_by_the_optimiser(network, bank):
    report, parameters = run(network, bank, mode="fixed", max_outer=2)
    assert report.steps == 2 and bool(report.loss.isfinite()) and 0 <= report.accuracy <= 100
    for name, own in network.named_parameters():
        assert parameters[name].grad is None
        moved = (parameters[name] - own).abs().max().item()
        assert moved <= 2 * SETTINGS["learning_rate"] * 1.001
    assert not torch.equal(parameters["head.weight"], network.head.weight)


def test_fast_weights_left_over_are_those_of_the_last_episode(network, bank):
    """As in the published code: adapted from the parameters before the last outer step (F04)."""
    _, before = run(network, bank, mode="fixed", max_outer=1)
    report, after = run(network, bank, mode="fixed", max_outer=2)
    support, _ = _sampled_again(bank, times=2)
    settings = ReplaySettings(**SETTINGS)
    found = last_fast_weights(step_of(network, after, settings, None), *report.last_episode)
    expected = adapt(network, before, support, torch.arange(WAYS), steps=2, learning_rate=0.1)
    for name in after:
        assert not found[name].requires_grad
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before["head.weight"], after["head.weight"])


def _sampled_again(bank, *, times):
    """The last episode of as many outer steps, normalised."""
    draws = generator(0)
    for _ in range(times):
        _, *sets = bank.sample_episodes(2, ways=WAYS, shots=1, queries=3, generator=draws)
    return [(images[-1] - 0.5) / 0.25 for images in sets]


def test_no_outer_step_changes_nothing(network, bank):
    report, parameters = run(network, bank, max_outer=0)
    assert report.steps == 0 and report.last_episode is None and bool(report.loss.isnan())
    assert all(torch.equal(parameters[name], own) for name, own in network.named_parameters())


def test_too_few_recovered_images_are_named(network, bank):
    with pytest.raises(DfmlError, match="6 recovered images per class cannot give 1 shots and 9 queries"):
        run(network, bank, queries=9)
    empty = ImageBank(9, slots=2, images_per_class=PER_CLASS, side=SIDE, device=torch.device("cpu"))
    with pytest.raises(DfmlError, match="the bank holds 0 classes"):
        run(network, empty)
