"""Several models inverted at once: every form finds what each model alone does, and which form is taken."""

import warnings
from dataclasses import replace

import pytest
import torch

from dfml.compute.seeds import torch_generator
from dfml.inversion import together
from dfml.inversion.five import MetaGenerator
from dfml.inversion.objective import Adversary
from dfml.inversion.settings import FiveSettings
from dfml.inversion.stacked import StackedSteps, can_be_stacked
from dfml.inversion.together import CANDIDATES, InversionForm, InversionShape, Together, form_of
from dfml.zoo.access import GradientsOnly
from support.inversion import generator, linear_model, objective
from support.zoo import random_model

# The candidates' limit leaves no convolution to the library; with this one there are some of both kinds.
STACKED = {
    **{name: form for name, form in CANDIDATES.items() if form.way == "stacked"},
    "mixed": InversionForm("stacked", 500),
}
APART = CANDIDATES["apart"]
ASKED = objective(bn_weight=0.3, crop_padding=2)


def five_of(form, *, dtype=torch.float64, **settings):
    quick = {"steps": 3, "learning_rate": 0.01, "latent_learning_rate": 0.02}
    return MetaGenerator(generator(dtype=dtype), FiveSettings(**{**quick, **settings}), form)


def imported():
    """A model that is not of this package."""
    return replace(linear_model(dtype=torch.float64), spec=None, index=7)


def found_by(five, models, asked=ASKED):
    """Images, curves and pseudo-gradients of every model, in their order."""
    _, found = five.together(models, asked, images_per_class=3, generator=torch_generator(0))
    return [list(own) for own in found]


def compare(found, expected, tolerance):
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("form", STACKED)
@pytest.mark.parametrize("rule", ["fomaml_last", "fomaml_sum", "reptile"])
@pytest.mark.parametrize("keep", ["pre_last", "best", "final"])
def test_several_at_once_find_what_each_finds_alone(form, rule, keep):
    models = [random_model(seed=seed) for seed in range(3)]
    settings = {"outer_rule": rule, "keep": keep}
    expected = found_by(five_of(APART, **settings), models)
    compare(found_by(five_of(STACKED[form], **settings), models), expected, 1e-10)
    assert not torch.allclose(expected[0][0], expected[1][0], atol=1e-3)


@pytest.mark.parametrize("form", STACKED)
@pytest.mark.parametrize("family", ["conv4", "resnet10"])
def test_so_they_do_in_single_precision(form, family):
    """With SGD: the first step of an Adam is a sign, which rounding decides where a gradient is nearly zero."""
    models = [random_model(seed=seed, family=family, dtype=torch.float32) for seed in range(2)]
    settings = {"inner_optimiser": "sgd", "dtype": torch.float32}
    compare(found_by(five_of(STACKED[form], **settings), models), found_by(five_of(APART, **settings), models), 1e-5)


def test_the_best_iterate_is_each_models_own():
    """Latents that jump: the lowest losses are at different steps."""
    models = [random_model(seed=seed) for seed in range(8)]
    settings = {"steps": 6, "learning_rate": 0.3, "latent_learning_rate": 3.0, "keep": "best"}
    found = found_by(five_of(STACKED["grouped"], **settings), models, objective())
    compare(found, found_by(five_of(APART, **settings), models, objective()), 1e-9)
    assert len({int(curve.argmin()) for _, curve, *_ in found}) > 1


@pytest.mark.parametrize("form", STACKED)
def test_a_mixed_iteration_keeps_its_order(form):
    """Two architectures, one model twice, one that is not of this package."""
    conv, other = random_model(seed=0), random_model(seed=1)
    models = [conv, random_model(seed=2, family="resnet10"), other, imported(), conv]
    compare(found_by(five_of(STACKED[form]), models), found_by(five_of(APART), models), 1e-10)


@pytest.mark.parametrize("form", STACKED)
def test_the_outer_step_goes_on_alike(form):
    models = [random_model(seed=seed) for seed in range(2)]
    states = []
    for chosen in (APART, STACKED[form]):
        five, draws = five_of(chosen), torch_generator(0)
        for turn in (models, models[::-1], models):
            five.step(turn, ASKED, images_per_class=2, generator=draws)
        five.check()
        states.append(five.stored)
    torch.testing.assert_close(states[1], states[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", STACKED)
def test_all_models_share_every_operation(form):
    """``vmap`` warns of those that it does one by one."""
    models = [random_model(seed=seed) for seed in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found_by(five_of(STACKED[form], keep="final"), models)


@pytest.mark.parametrize("form", STACKED)
def test_the_same_bits_every_time(form):
    models = [random_model(seed=seed) for seed in range(2)]
    one, two = (found_by(five_of(STACKED[form]), models) for _ in range(2))
    assert all(
        torch.equal(a, b) for first, second in zip(one, two, strict=True) for a, b in zip(first, second, strict=True)
    )


def test_models_and_generator_are_left_alone():
    models = [random_model(seed=seed) for seed in range(2)]
    five = five_of(STACKED["products"])
    held = [t for m in (*(model.network for model in models), five.network) for t in m.state_dict().values()]
    before = [t.clone() for t in held]
    found_by(five, models)
    assert all(torch.equal(a, b) for a, b in zip(held, before, strict=True))
    assert all(p.grad is None for p in five.network.parameters())


def test_what_cannot_be_stacked():
    model, plain = random_model(), FiveSettings()
    assert can_be_stacked(model, ASKED, plain)
    assert not can_be_stacked(imported(), ASKED, plain)
    assert not can_be_stacked(model.carrying(GradientsOnly(model.module)), ASKED, plain)
    assert not can_be_stacked(model, objective(bn_weight=0.1, statistics_momentum=0.9), plain)
    assert not can_be_stacked(model, ASKED, FiveSettings(outer_rule="maml"))
    adversary = Adversary(1.0, "kl_ts", lambda model, inputs: model.network(inputs), student_grad=False)
    assert not can_be_stacked(model, objective(adversary=adversary), plain)


@pytest.mark.parametrize("settings", [{"outer_rule": "maml"}, {}], ids=["exact", "gradients only"])
def test_and_is_inverted_apart(settings, monkeypatch):
    monkeypatch.setattr(StackedSteps, "__call__", None)
    models = [random_model(seed=seed) for seed in range(2)]
    if not settings:
        models = [model.carrying(GradientsOnly(model.module)) for model in models]
    asked = objective(crop_padding=2)
    compare(
        found_by(five_of(STACKED["grouped"], **settings), models, asked),
        found_by(five_of(APART, **settings), models, asked),
        0,
    )


def test_a_gpu_takes_what_was_measured_for_the_shape_and_no_other(monkeypatch):
    shape, cuda = InversionShape(4, 100, 32, 64), torch.device("cuda")
    assert form_of(shape, cuda) == APART
    monkeypatch.setattr(together, "FASTEST", {shape: "products"})
    assert form_of(shape, cuda) == CANDIDATES["products"]
    assert form_of(shape._replace(models=2), cuda) == APART
    assert form_of(shape, torch.device("cpu")) == APART


def test_the_shape_is_that_of_the_models_of_one_form(monkeypatch):
    asked = []
    monkeypatch.setattr(together, "form_of", lambda shape, device: asked.append(shape) or APART)
    network = generator()
    models = [random_model(seed=0), random_model(seed=1, family="resnet10"), random_model(seed=2)]
    Together(network, FiveSettings(steps=1))(models, ASKED, images_per_class=2, generator=torch_generator(0))
    ways = len(models[0].classes)
    assert asked == [InversionShape(count, 2 * ways, network.side, network.width) for count in (2, 1)]
