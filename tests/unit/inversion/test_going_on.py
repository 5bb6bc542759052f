"""The file of a generator has the outer optimiser's moments: meta-training goes on from it to the same bits."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfml.compute.seeds import torch_generator
from dfml.errors import FileFormatError
from dfml.inversion.five import GENERATOR, load_meta_generator
from dfml.inversion.settings import FiveSettings
from support.inversion import inversion_settings, meta_generator, objective
from support.zoo import CPU, SIDE, random_model

OPTIMISERS = ("adam_persistent", "adam_fresh", "sgd")
QUICK = {"steps": 2, "learning_rate": 0.01, "latent_learning_rate": 0.01}


def settings_with(optimiser):
    return inversion_settings(five=FiveSettings(outer_optimiser=optimiser, **QUICK))


def made(optimiser):
    return meta_generator(dtype=torch.float32, outer_optimiser=optimiser, **QUICK)


def train(five, steps, draws):
    models, asked = [random_model(seed=seed, dtype=torch.float32) for seed in range(2)], objective(crop_padding=1)
    for _ in range(steps):
        five.step(models, asked, images_per_class=2, generator=draws)
    return five


def load(folder, optimiser, *, goes_on=True):
    return load_meta_generator(folder, settings_with(optimiser), SIDE, CPU, goes_on=goes_on)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def trained(tmp_path):
    """A folder with the file of a generator after some steps of the Adam that lives on."""
    train(made("adam_persistent"), 2, torch_generator(0)).save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (1, 2), (3, 1)])
def test_a_stored_generator_goes_on_to_the_same_bits(tmp_path, optimiser, before, after):
    whole = train(made(optimiser), before + after, torch_generator(0))
    draws = torch_generator(0)
    train(made(optimiser), before, draws).save(tmp_path)
    assert same(train(load(tmp_path, optimiser), after, draws).stored, whole.stored)


def test_without_its_moments_it_would_go_elsewhere(trained):
    fresh, going_on = load(trained, "adam_persistent", goes_on=False), load(trained, "adam_persistent")
    assert same(fresh.network.state_dict(), going_on.network.state_dict())
    train(fresh, 1, torch_generator(1))
    train(going_on, 1, torch_generator(1))
    assert not same(fresh.network.state_dict(), going_on.network.state_dict())


def test_only_the_adam_that_lives_on_leaves_something():
    for optimiser in OPTIMISERS:
        five = train(made(optimiser), 1, torch_generator(0))
        remembered = five.stored.keys() - five.network.state_dict().keys()
        names = [name for name, _ in five.network.named_parameters()]
        kinds = ("first", "second", "steps") if optimiser == "adam_persistent" else ()
        assert remembered == {f"outer.{kind}.{name}" for kind in kinds for name in names}


@pytest.mark.parametrize("optimiser", ["adam_fresh", "sgd"])
def test_an_optimiser_without_memory_takes_up_the_generator_of_any(trained, optimiser):
    assert same(load(trained, optimiser).network.state_dict(), load(trained, "adam_persistent").network.state_dict())


@pytest.mark.parametrize("optimiser", ["adam_fresh", "sgd"])
def test_the_adam_that_lives_on_refuses_a_file_without_moments(tmp_path, optimiser):
    made(optimiser).save(tmp_path)
    message = (
        rf"{GENERATOR}: tensors .*outer\.first.*memory of the outer optimiser `adam_persistent`; run the inversion"
    )
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path, "adam_persistent")
    load(tmp_path, "adam_persistent", goes_on=False)  # the speed table only asks it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("outer.second.conv3.bias"), r"outer\.second\.conv3\.bias.* do not fit"),
        (lambda t: t.update({"outer.third.conv3.bias": torch.zeros(3)}), r"outer\.third\.conv3\.bias.* do not fit"),
        (lambda t: t.update({"outer.first.conv3.bias": torch.zeros(10**6)}), r"F32 \(1000000,\), expected F32 \(3,\)"),
        (lambda t: t.update({"outer.steps.conv3.bias": torch.tensor(2)}), r"I64 \(\), expected F32 \(\)"),
        (lambda t: t["outer.first.conv3.bias"].fill_(float("nan")), "not finite"),
        (lambda t: t["outer.second.conv3.bias"].fill_(-1), r"outer\.second\.conv3\.bias' has negative"),
        (lambda t: t["outer.steps.conv3.bias"].fill_(-1), r"outer\.steps\.conv3\.bias' has negative"),
    ],
    ids=["missing", "unknown", "huge", "type", "nan", "negative_moment", "negative_count"],
)
def test_moments_that_no_run_leaves_are_refused(trained, change, message):
    tensors = load_file(trained / GENERATOR)
    change(tensors)
    save_file(tensors, trained / GENERATOR)
    with pytest.raises(FileFormatError, match=rf"{message}.*run the inversion again"):
        load(trained, "adam_persistent")
