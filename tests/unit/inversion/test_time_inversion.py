"""The `time_inversion` stage, and the meta-generator that it reads."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.modules.module import register_module_forward_hook

from dfml.errors import FileFormatError
from dfml.inversion.five import GENERATOR, load_meta_generator
from dfml.inversion.timing import time_inversion
from dfml.networks.generator import Generator
from support.inversion import generator, inversion_settings, meta_generator
from support.zoo import CPU, SIDE, QuietJob, write_random_zoo


@pytest.fixture
def inverted(tmp_path):
    """A folder with a stored generator."""
    meta_generator(dtype=torch.float32).save(tmp_path)
    return tmp_path


def test_what_is_saved_is_loaded(inverted):
    five = load_meta_generator(inverted, inversion_settings(), SIDE, CPU, goes_on=True)
    assert all(
        torch.equal(t, generator(dtype=torch.float32).state_dict()[n]) for n, t in five.network.state_dict().items()
    )
    assert five.settings == inversion_settings().five


@pytest.mark.parametrize("keep", [0, 5, 8, 200, 0.5, -1])
def test_a_truncated_generator(inverted, keep):
    whole = (inverted / GENERATOR).read_bytes()
    (inverted / GENERATOR).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(FileFormatError, match=rf"{GENERATOR}: not a readable .*; run the inversion again"):
        load_meta_generator(inverted, inversion_settings(), SIDE, CPU, goes_on=True)


def test_a_generator_of_another_size_or_kind(inverted):
    for settings, side in ((inversion_settings(width=5), SIDE), (inversion_settings(latent=9), SIDE)):
        with pytest.raises(FileFormatError, match="expected F32"):
            load_meta_generator(inverted, settings, side, CPU, goes_on=True)
    with pytest.raises(FileFormatError, match="expected F32"):
        load_meta_generator(inverted, inversion_settings(), 32, CPU, goes_on=True)
    tensors = load_file(inverted / GENERATOR)
    del tensors["conv3.bias"]
    save_file(tensors, inverted / GENERATOR)
    with pytest.raises(FileFormatError, match=r"conv3\.bias"):
        load_meta_generator(inverted, inversion_settings(), SIDE, CPU, goes_on=True)


def test_a_missing_generator_and_a_pickle(inverted):
    (inverted / GENERATOR).write_bytes(pickle.dumps({"conv3.bias": [0.0]}))
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_meta_generator(inverted, inversion_settings(), SIDE, CPU, goes_on=True)
    (inverted / GENERATOR).unlink()
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_meta_generator(inverted, inversion_settings(), SIDE, CPU, goes_on=True)


def test_arms_from_scratch_learn_at_the_rates_of_five(inverted, tmp_path):
    zoo = write_random_zoo(tmp_path / "zoo", models=1)

    def losses(section, rate):
        usual = inversion_settings(speed={"models": 1, "steps": (30,)})  # enough to find better images than the first
        rates = {"learning_rate": rate, "latent_learning_rate": rate}
        changed = usual.model_copy(update={section: getattr(usual, section).model_copy(update=rates)})
        path = tmp_path / "speed.json"
        time_inversion([zoo], inverted, path, pool="toy", settings=changed, seed=0, job=QuietJob())
        return [arm["teacher_ce"] for arm in json.loads(path.read_text())["arms"] if arm["name"] == "per_model"]

    assert losses("per_model", 1e-4) == losses("per_model", 0.1)
    assert losses("five", 1e-4) != losses("five", 0.03)


def test_every_arm_is_timed_on_the_same_models(inverted, tmp_path):
    zoo = write_random_zoo(tmp_path / "zoo", models=3)
    passes = []
    hook = register_module_forward_hook(lambda module, *_: passes.append(None) if type(module) is Generator else None)
    options = {"pool": "toy", "settings": inversion_settings(), "seed": 0, "job": QuietJob()}
    try:
        time_inversion([zoo], inverted, tmp_path / "speed.json", **options)
    finally:
        hook.remove()
    told = json.loads((tmp_path / "speed.json").read_bytes())
    assert (told["format"], told["version"], told["images_per_task"]) == ("dfml.speed", 1, 12)
    assert [(arm["name"], arm["steps"]) for arm in told["arms"]] == [("five", 2), ("per_model", 2), ("per_model", 3)]
    for arm in told["arms"]:
        assert len(arm["seconds_per_task"]) == len(arm["teacher_ce"]) == len(arm["teacher_accuracy"]) == 2
        assert min(arm["seconds_per_task"]) > 0
    assert len(passes) == 2 + 2 * (2 + 2 + 3), "one warm-up of FIVE, then every arm on two models"
