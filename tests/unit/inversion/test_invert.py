"""The `invert` stage: what it writes, its seeds, its interruptions."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dfml.inversion.bank import ImageBank
from dfml.inversion.meta_generator import MetaGenerator
from dfml.inversion.per_model import FromScratch
from dfml.inversion.recover import BANK, GENERATOR, GRID, RECORD, invert
from dfml.zoo.pool import Pool
from support.inversion import inversion_settings
from support.zoo import CPU, QuietJob, write_random_zoo

FIVE = {"iterations": 4, "warmup": 1, "models_per_iteration": 2, "steps": 2}
INVERTERS = ("five", "gen_ce", "gen_bn")


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Four models with two judges, and two of another architecture with one."""
    root = tmp_path_factory.mktemp("zoos")
    return [
        write_random_zoo(root / "a", judges=2),
        write_random_zoo(root / "b", architecture="other", models=2, seed=1),
    ]


def run(zoos, folder, *, inverter="five", label_space="global", seed=0, every=2, **settings):
    invert(
        zoos,
        folder,
        pool="toy",
        inverter=inverter,
        settings=inversion_settings(**settings),
        label_space=label_space,
        seed=seed,
        resume=folder / "resume.pt",
        checkpoint_every=every,
        job=QuietJob(),
    )
    return folder


@pytest.fixture(scope="module", params=INVERTERS)
def inverter(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(zoos, inverter, tmp_path_factory):
    return run(zoos, tmp_path_factory.mktemp(inverter), inverter=inverter)


def record(folder):
    return json.loads((folder / RECORD).read_bytes())


def contents(folder):
    """All that an inversion gave, but for its seconds."""
    told = record(folder)
    del told["seconds"]
    return [told, *((folder / name).read_bytes() for name in (GENERATOR, BANK, GRID))]


def interrupt(monkeypatch, inverter, steps):
    """Let the recovery fail after ``steps`` iterations or models; returns the list of those done."""
    owner, name = (MetaGenerator, "step") if inverter == "five" else (FromScratch, "__call__")
    real, done = getattr(owner, name), []

    def failing(*args, **options):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(None)
        return real(*args, **options)

    monkeypatch.setattr(owner, name, failing)
    return done


def test_files(undisturbed):
    assert sorted(path.name for path in undisturbed.iterdir()) == sorted([RECORD, GENERATOR, BANK, GRID])


def test_the_record_counts_what_was_done(undisturbed, inverter):
    told = record(undisturbed)
    five = inverter == "five"
    assert told["iterations"] == len(told["history"]) == (5 if five else 6)
    assert told["inversions"] == (10 if five else 6)
    assert told["generator_passes"] == told["teacher_passes"] == (20 if five else 24)
    assert told["images"] == ImageBank.load(undisturbed / BANK, CPU).images
    assert len(told["ce_curve"]["first"]) == 2
    assert len(told["ce_curve"]["last"]) == (2 if five else 4)
    assert told["seconds"] > 0
    for name in ("teacher_accuracy", "independent_accuracy", "cross_model_accuracy"):
        assert 0 <= told[name] <= 100


def test_the_warm_up_leaves_nothing_in_the_bank(zoos, tmp_path):
    bank = ImageBank.load(run(zoos, tmp_path, five={**FIVE, "warmup": 3, "iterations": 1}) / BANK, CPU)
    assert bank.written.sum() == 2 * 3
    assert len(record(tmp_path)["history"]) == 4


def test_every_image_is_filed_under_a_class_of_its_model(undisturbed, zoos):
    pool = Pool.load(zoos, label_space="global", device=CPU)
    _, labels, sources = ImageBank.load(undisturbed / BANK, CPU).everything()
    assert len(labels) > 0
    for label, source in zip(labels.tolist(), sources.tolist(), strict=True):
        assert label in pool[source].classes.tolist()


def test_per_model_labels_keep_every_model_apart(zoos, tmp_path):
    folder = run(zoos, tmp_path, inverter="gen_ce", label_space="per_model")
    bank = ImageBank.load(folder / BANK, CPU)
    assert bank.written.tolist() == [1] * 6 * 3
    assert bank.sources[:, 0].tolist() == [model for model in range(6) for _ in range(3)]
    assert record(folder)["cross_model_accuracy"] is None


def test_a_limit_on_the_models_that_are_inverted(zoos, tmp_path):
    folder = run(zoos, tmp_path, inverter="gen_ce", per_model={"steps": 2, "models": 2})
    assert set(ImageBank.load(folder / BANK, CPU).everything()[2].tolist()) == {0, 1}


def test_same_seed_same_bits(undisturbed, zoos, inverter, tmp_path):
    assert contents(run(zoos, tmp_path, inverter=inverter)) == contents(undisturbed)


def test_other_seed_other_bits(undisturbed, zoos, inverter, tmp_path):
    other = run(zoos, tmp_path, inverter=inverter, seed=1)
    assert not torch.equal(*(load_file(f / GENERATOR)["project.weight"] for f in (other, undisturbed)))
    assert (other / BANK).read_bytes() != (undisturbed / BANK).read_bytes()


def test_only_five_trains_the_generator(zoos, tmp_path):
    ends = [load_file(run(zoos, tmp_path / name, inverter=name) / GENERATOR) for name in INVERTERS]
    assert all(torch.equal(ends[1][name], tensor) for name, tensor in ends[2].items())
    assert not torch.equal(ends[0]["project.weight"], ends[1]["project.weight"])


@pytest.mark.parametrize(("stop", "kept"), [(1, 0), (3, 2), (4, 4)])
def test_an_interruption_leads_to_the_same_bits(undisturbed, zoos, inverter, tmp_path, monkeypatch, stop, kept):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, inverter, stop)
        run(zoos, tmp_path, inverter=inverter)
    assert [path.name for path in tmp_path.iterdir()] == (["resume.pt"] if kept else [])
    done = interrupt(monkeypatch, inverter, 99)
    run(zoos, tmp_path, inverter=inverter)
    assert len(done) == (5 - kept if inverter == "five" else 6 - kept + 3)  # with three probes
    assert contents(tmp_path) == contents(undisturbed)


@pytest.mark.parametrize("optimiser", ["adam_fresh", "sgd"])
def test_an_interruption_keeps_the_outer_optimiser(zoos, tmp_path, monkeypatch, optimiser):
    five = {**FIVE, "outer_optimiser": optimiser}
    whole = run(zoos, tmp_path / "whole", five=five)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 4)
        run(zoos, tmp_path / "parts", five=five)
    assert contents(run(zoos, tmp_path / "parts", five=five)) == contents(whole)


def test_seconds_run_on_over_an_interruption(zoos, tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr("dfml.inversion.recover.time.perf_counter", lambda: float(next(clock)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 4)
        run(zoos, tmp_path)
    saved = torch.load(tmp_path / "resume.pt", weights_only=True)["state"]["seconds"]
    run(zoos, tmp_path)
    assert record(tmp_path)["seconds"] > saved > 0


@pytest.mark.parametrize("change", [{"inverter": "gen_ce"}, {"latent": 9}, {"label_space": "per_model"}])
def test_another_runs_rest_is_not_continued(zoos, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 3)
        run(zoos, tmp_path / "parts")
    whole = run(zoos, tmp_path / "whole", **change)
    assert contents(run(zoos, tmp_path / "parts", **change)) == contents(whole)


def test_a_rest_from_another_zoo_is_not_continued(zoos, tmp_path, monkeypatch):
    other = [write_random_zoo(tmp_path / "other", seed=5), zoos[1]]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 3)
        run(other, tmp_path / "parts")
    assert contents(run(zoos, tmp_path / "parts")) == contents(run(zoos, tmp_path / "whole"))


@pytest.mark.parametrize(("per_class", "columns"), [(1, 1), (4, 4), (9, 8)])
def test_the_picture_has_a_row_for_each_class_of_each_probe(zoos, tmp_path, per_class, columns):
    folder = run(zoos, tmp_path, images_per_class=per_class, five={**FIVE, "iterations": 1})
    with Image.open(folder / GRID) as picture:
        assert picture.size == (columns * 34 + 2, 3 * 3 * 34 + 2)
    assert (record(folder)["diversity"] is None) == (per_class == 1)


def test_without_judges_the_first_models_are_measured(tmp_path):
    folder = run([write_random_zoo(tmp_path / "zoo", models=5, judges=0)], tmp_path / "inversion")
    told = record(folder)
    assert told["independent_accuracy"] is None
    assert "`zoo.judges`" in told["independent_reason"]
    assert 0 <= told["teacher_accuracy"] <= 100
    with Image.open(folder / GRID) as picture:
        assert picture.size[1] == 4 * 3 * 34 + 2


def test_recovered_images_use_the_whole_of_uint8(undisturbed):
    images, _, _ = ImageBank.load(undisturbed / BANK, CPU).everything()
    assert images.dtype == torch.uint8
    assert np.ptp(images.numpy()) > 50
