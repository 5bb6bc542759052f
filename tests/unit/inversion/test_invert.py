"""The `invert` stage: what it writes, its seeds, its interruptions."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.cmi import ContrastiveInversion
from dfml.inversion.meta_generator import MetaGenerator
from dfml.inversion.per_model import FromScratch
from dfml.inversion.pixels import DeepInversion
from dfml.inversion.recover import BANK, GENERATOR, GRID, RECORD, Restart, invert
from dfml.runtime.seeds import torch_generator
from dfml.zoo.pool import Pool
from support.inversion import generator as toy_generator
from support.inversion import inversion_settings
from support.zoo import CPU, QuietJob, write_random_zoo

FIVE = {"iterations": 4, "warmup": 1, "models_per_iteration": 2, "steps": 2}
META_LEARNED = ("five", "fast")
INVERTERS = (*META_LEARNED, "gen_ce", "gen_bn", "cmi", "deep_inversion")
RECOVERS = {"cmi": ContrastiveInversion, "deep_inversion": DeepInversion, "gen_ce": FromScratch, "gen_bn": FromScratch}


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Four models with two judges, and two of another architecture with one."""
    root = tmp_path_factory.mktemp("zoos")
    return [
        write_random_zoo(root / "a", judges=2),
        write_random_zoo(root / "b", architecture="other", models=2, seed=1),
    ]


def run(zoos, folder, *, inverter="five", label_space="global", seed=0, every=2, code="code", **settings):
    invert(
        zoos,
        folder,
        pool="toy",
        inverter=inverter,
        settings=inversion_settings(**settings),
        label_space=label_space,
        seed=seed,
        code=code,
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
    owner, name = (MetaGenerator, "step") if inverter in META_LEARNED else (RECOVERS[inverter], "__call__")
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


# Iterations, inversions, passes of the generator and of the teacher, length of the curve.
COUNTS = {
    "five": (5, 10, 20, 20, 2),
    "fast": (6, 6, 12, 12, 2),
    "gen_ce": (6, 6, 24, 24, 4),
    "gen_bn": (6, 6, 24, 24, 4),
    "cmi": (6, 12, 36, 72, 3),
    "deep_inversion": (6, 6, 0, 18, 3),
}


def test_the_record_counts_what_was_done(undisturbed, inverter):
    told = record(undisturbed)
    assert told["iterations"] == len(told["history"])
    counted = [told[name] for name in ("iterations", "inversions", "generator_passes", "teacher_passes")]
    curves = told["ce_curve"]
    assert (*counted, len(curves["last"])) == COUNTS[inverter]
    assert told["images"] == ImageBank.load(undisturbed / BANK, CPU).images
    # What learns nothing from one model to the next is as it was at first.
    assert curves.keys() == ({"first", "last"} if inverter in META_LEARNED else {"last"})
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
    chosen = set(ImageBank.load(folder / BANK, CPU).everything()[2].tolist())
    assert len(chosen) == 2
    homes = {model.architecture for model in Pool.load(zoos, label_space="global", device=CPU) if model.index in chosen}
    assert len(homes) == 2, "few models still are of every architecture"


def test_same_seed_same_bits(undisturbed, zoos, inverter, tmp_path):
    assert contents(run(zoos, tmp_path, inverter=inverter)) == contents(undisturbed)


def test_other_seed_other_bits(undisturbed, zoos, inverter, tmp_path):
    other = run(zoos, tmp_path, inverter=inverter, seed=1)
    assert not torch.equal(*(load_file(f / GENERATOR)["project.weight"] for f in (other, undisturbed)))
    assert (other / BANK).read_bytes() != (undisturbed / BANK).read_bytes()


def test_only_meta_learned_inverters_train_the_generator(zoos, tmp_path):
    ends = {name: load_file(run(zoos, tmp_path / name, inverter=name) / GENERATOR) for name in INVERTERS}
    same = [name for name, end in ends.items() if all(torch.equal(end[k], t) for k, t in ends["gen_ce"].items())]
    assert same == ["gen_ce", "gen_bn", "cmi", "deep_inversion"]
    assert not torch.equal(ends["five"]["project.weight"], ends["fast"]["project.weight"])


@pytest.mark.parametrize(("stop", "kept"), [(1, 0), (3, 2), (4, 4)])
def test_an_interruption_leads_to_the_same_bits(undisturbed, zoos, inverter, tmp_path, monkeypatch, stop, kept):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, inverter, stop)
        run(zoos, tmp_path, inverter=inverter)
    assert [path.name for path in tmp_path.iterdir()] == (["resume.pt"] if kept else [])
    done = interrupt(monkeypatch, inverter, 99)
    run(zoos, tmp_path, inverter=inverter)
    assert len(done) == COUNTS[inverter][0] - kept + (0 if inverter in META_LEARNED else 3)  # with three probes
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


@pytest.mark.parametrize("change", [{"inverter": "gen_ce"}, {"latent": 9}, {"label_space": "per_model"}, {"code": "x"}])
def test_another_runs_rest_is_not_continued(zoos, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "five", 3)
        run(zoos, tmp_path / "parts")
    whole = run(zoos, tmp_path / "whole", **change)
    done = interrupt(monkeypatch, change.get("inverter", "five"), 99)
    assert contents(run(zoos, tmp_path / "parts", **change)) == contents(whole)
    assert len(done) >= COUNTS[change.get("inverter", "five")][0]


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


def test_the_restart_touches_the_first_layer_alone_and_only_once(zoos, tmp_path):
    fast = {"iterations": 2, "warmup": 1, "models_per_iteration": 1, "steps": 1}
    never = load_file(run(zoos, tmp_path / "never", inverter="fast", fast={**fast, "restart_at": None}) / GENERATOR)
    late = load_file(run(zoos, tmp_path / "late", inverter="fast", fast={**fast, "restart_at": 9}) / GENERATOR)
    assert all(torch.equal(never[name], tensor) for name, tensor in late.items())
    generator, before = toy_generator(dtype=torch.float32), toy_generator(dtype=torch.float32).state_dict()
    with torch.no_grad():
        generator.norm0.weight.fill_(3.0)
    Restart(0, inversion_settings(), torch_generator(0, "restart"))(generator)
    changed = {name for name, t in generator.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"project.weight", "project.bias"}
    assert (generator.norm0.weight == 1).all()


def test_several_sides_and_families_share_a_bank(inverter, tmp_path):
    mixed = [
        write_random_zoo(tmp_path / "small", models=2, judges=0),
        write_random_zoo(tmp_path / "large", dataset="big", family="resnet10", side=32, models=1, judges=0, seed=1),
    ]
    for resize in ("bilinear", "crop"):
        folder = run(mixed, tmp_path / resize, inverter=inverter, resize=resize)
        bank = ImageBank.load(folder / BANK, CPU)
        assert bank.pixels.shape[-1] == 32
        assert set(bank.everything()[2].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("name", sorted(RECOVERS))
def test_threads_do_not_change_the_bits(zoos, name, tmp_path):
    """The threads of the process are put back by hand: they are torch's own setting."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append((run(zoos, tmp_path / str(threads), inverter=name) / BANK).read_bytes())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_gen_ce_asks_for_no_weights(zoos, tmp_path, monkeypatch):
    given, load = [], Pool.load
    monkeypatch.setattr(Pool, "load", lambda *a, **k: given.append(k["access"]) or load(*a, **k))
    for name in INVERTERS:
        run(zoos, tmp_path / name, inverter=name)
    assert given == ["gradients" if name == "gen_ce" else "weights" for name in INVERTERS]


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("cmi", {"cmi": {"steps": 2, "bn_weight": 1e39}}, "inversion.cmi.learning_rate"),
        ("deep_inversion", {"deep_inversion": {"steps": 2, "tv_weight": 1e39}}, "deep_inversion.learning_rate"),
        ("gen_bn", {"per_model": {"steps": 2, "bn_weight": 1e39}}, "bn_weight"),
        ("fast", {"fast": {"iterations": 1, "warmup": 0, "steps": 2, "bn_weight": 1e39}}, "bn_weight"),
    ],
)
def test_a_loss_that_is_not_finite_names_the_key(zoos, tmp_path, name, changes, key):
    with pytest.raises(DfmlError, match=rf"model 0: the loss is not finite; .*{key}" if name != "fast" else key):
        run(zoos, tmp_path, inverter=name, **changes)
