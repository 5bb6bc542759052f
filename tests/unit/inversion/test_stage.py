"""The `invert` stage: what it writes, its seeds, its limits."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dfml.artefacts.inversion import BANK
from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.inversion.bank import ImageBank
from dfml.inversion.five import GENERATOR, Restart
from dfml.inversion.stage import GRID, RECORD
from dfml.zoo.pool import Pool
from support.inversion import generator as toy_generator
from support.inversion import inversion_settings
from support.recoveries import COUNTS, FIVE, INVERTERS, META_LEARNED, RECOVERS, contents, record, run
from support.zoo import CPU, write_random_zoo


def test_files(undisturbed):
    assert sorted(path.name for path in undisturbed.iterdir()) == sorted([RECORD, GENERATOR, BANK, GRID])


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
    once = load_file(run(zoos, tmp_path / "once", inverter="fast", fast={**fast, "restart_at": 0}) / GENERATOR)
    assert not torch.equal(never["project.weight"], once["project.weight"])
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
