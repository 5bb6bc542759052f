"""One head per zoo model: on recovered images, procedural ones, noise, and real images of another domain."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from dfml.artefacts.inversion import BANK
from dfml.catalogue import entry
from dfml.data.images import SPLITS, ClassImages, load_images, save_images
from dfml.errors import DfmlError
from dfml.imaging.pixels import resized
from dfml.inversion.bank import ImageBank
from dfml.jobs.wall import WallError, data_free_wall
from dfml.methods.heads import fitting as shared
from dfml.methods.heads.alone import fit_bank, fit_noise, fit_procedural, fit_unlabelled
from dfml.methods.heads.questions import TOGETHER
from dfml.zoo.pool import Pool
from support.cells import (
    LEARNER,
    InterruptedJobError,
    InterruptedProgress,
    context,
    fit_cell,
    settings_of,
    write_inversion,
)
from support.inversion import recovered
from support.zoo import CPU, MEAN, SIDE, STD, WAYS, save_pattern_images, write_random_zoo

TINY = {"steps": 6, "questions": 30, "batch_size": 8, "crop_padding": 1}
PLAIN = {"recolour": False, "mix": False, "crop_padding": 0}
FITS = {
    "bank_heads": fit_bank,
    "procedural_heads": fit_procedural,
    "mixed_heads": fit_bank,
    "noise_heads": fit_noise,
    "unlabelled_heads": fit_unlabelled,
}


@pytest.fixture(scope="module")
def inputs(pool, images, tmp_path_factory):
    """What each method reads beside the zoo."""
    inversion = write_inversion(tmp_path_factory.mktemp("heads") / "inversion", pool)
    return lambda method: {
        "inversion": inversion if entry(method).needs_inversion({}) else None,
        "images": [images] if method == "unlabelled_heads" else [],
    }


def options(method, **changes):
    return settings_of(method, TINY | changes).model_dump(mode="json")


def run(folder, method, zoo, inputs, *, progress=None, read=None, **changes):
    made = options(method, **changes)
    given = inputs(method) | (read or {})
    return fit_cell(folder, method, made, zoos=[zoo], inversion_settings=None, progress=progress, **given)


def weights(folder):
    return (folder / "learner.safetensors").read_bytes()


@pytest.mark.parametrize("method", FITS)
def test_the_distilled_backbone_is_the_learner_with_a_head_of_zeros(zoo, pool, inputs, tmp_path, method):
    folder = run(tmp_path / "learner", method, zoo, inputs)
    state = load_file(folder / "learner.safetensors")
    head = [tensor for name, tensor in state.items() if "head." in name]
    assert len(head) == 2 and not any(tensor.any() for tensor in head)
    manifest = json.loads((folder / "learner.json").read_text())
    assert manifest["teacher_passes"] == len(pool)  # one chunk each
    assert manifest["stages"].keys() == {"heads"} and manifest["finetune"]
    start = pool.best(1)[0].network
    moved = {name for name in state if not torch.equal(state[name], start.get_parameter(name.split("/")[-1]))}
    assert moved == state.keys()


@pytest.mark.parametrize("method", FITS)
def test_answers_are_all_that_is_asked_of_the_models(zoo, inputs, method):
    pool = Pool.load([zoo], label_space="global", device=CPU, access="logits")
    made = options(method, start="random", statistics="stored")
    FITS[method](context(method, pool=pool, options=made, inversion_settings=None, **inputs(method)))
    assert [model.network.queries for model in pool] == [TINY["questions"]] * len(pool)


def test_teacher_passes_count_every_chunk_of_questions(zoo, inputs, tmp_path):
    folder = run(tmp_path / "learner", "noise_heads", zoo, inputs, questions=TOGETHER + 1, steps=1)
    assert json.loads((folder / "learner.json").read_text())["teacher_passes"] == 2 * 4


def test_some_of_the_models_answer_each_question(zoo, inputs):
    pool = Pool.load([zoo], label_space="global", device=CPU, access="logits")
    made = options("noise_heads", start="random", models_per_question=2)
    fitted = fit_noise(context("noise_heads", pool=pool, options=made, inversion_settings=None))
    asked = [model.network.queries for model in pool]
    assert sum(asked) == 2 * TINY["questions"] and max(asked) - min(asked) <= 2
    assert fitted.teacher_passes == len(pool) == 4  # one chunk each


def test_as_many_models_as_there_are_is_all_of_them(zoo, inputs, tmp_path):
    plain = run(tmp_path / "plain", "noise_heads", zoo, inputs)
    for count in (4, 100):
        assert weights(run(tmp_path / str(count), "noise_heads", zoo, inputs, models_per_question=count)) == weights(
            plain
        )
    assert weights(run(tmp_path / "some", "noise_heads", zoo, inputs, models_per_question=3)) != weights(plain)


@pytest.fixture
def asked(monkeypatch):
    """The questions of a run, as the models are asked them."""
    seen = []
    original = shared.ask
    monkeypatch.setattr(shared, "ask", lambda models, x, **how: seen.append(x) or original(models, x, **how))
    return seen


def test_noise_is_uniform_and_depends_on_the_seed_alone(zoo, inputs, tmp_path, asked):
    run(tmp_path / "a", "noise_heads", zoo, inputs, **PLAIN, questions=200)
    run(tmp_path / "b", "noise_heads", zoo, inputs, **PLAIN, questions=200, learning_rate=0.1)
    noise, again = asked
    assert torch.equal(noise, again) and noise.shape == (200, 3, SIDE, SIDE)
    counts = torch.histc(noise.float(), 8, 0, 256) / noise.numel()
    assert (counts - 1 / 8).abs().max() < 0.005
    assert noise.float().mean(0).std() < 0.05 * 255  # no pixel is special


def each(images):
    return [image.numpy().tobytes() for image in images]


def test_unlabelled_questions_are_images_of_the_folder(zoo, inputs, images, tmp_path, asked):
    run(tmp_path / "a", "unlabelled_heads", zoo, inputs, **PLAIN)
    assert set(each(asked[0])) <= set(each(load_images(images / "meta_train.npz").packed()[0]))
    assert len(set(each(asked[0]))) > 10


def test_questions_of_the_bank_are_recovered_images_and_of_both_as_many_as_the_share_says(zoo, inputs, tmp_path, asked):
    held = set(each(ImageBank.load(inputs("bank_heads")["inversion"] / BANK, CPU).everything()[0]))
    run(tmp_path / "a", "bank_heads", zoo, inputs, **PLAIN)
    assert set(each(asked[0])) <= held
    run(tmp_path / "b", "mixed_heads", zoo, inputs, **PLAIN, procedural=0.2)
    known = [image in held for image in each(asked[1])]
    assert sum(known) == 24
    assert known != sorted(known) and known != sorted(known, reverse=True)
    run(tmp_path / "c", "procedural_heads", zoo, inputs, **PLAIN)
    assert not held & set(each(asked[2])) and len(set(each(asked[2]))) == 30


def test_a_question_is_normalised_as_the_data_set_it_was_recovered_for(tmp_path, monkeypatch):
    grey = {"mean": [0.1, 0.1, 0.1], "std": [0.9, 0.9, 0.9]}
    zoos = [write_random_zoo(tmp_path / "a"), write_random_zoo(tmp_path / "b", dataset="other", seed=1, **grey)]
    pool = Pool.load(zoos, label_space="global", device=CPU)
    bank = ImageBank(len(pool.class_names), slots=1, images_per_class=2, side=SIDE, device=CPU)
    for model, shade in ((pool[0], 0.0), (pool[-1], 1.0)):  # one of each data set
        bank.add(recovered(model, torch.full((2 * WAYS, 3, SIDE, SIDE), shade)))
    bank.save(tmp_path / BANK)
    settings = settings_of("mixed_heads", TINY | PLAIN | {"procedural": 0.25, "questions": 40})
    cell = context("mixed_heads", pool=pool, inversion=tmp_path)
    asked = shared.of_the_bank(cell, settings)(torch.Generator().manual_seed(0))
    shade = asked.images.float().mean((1, 2, 3)) / 255
    mean, std = pool.normalisation
    expected = {0.0: (MEAN, STD), 1.0: ([0.1] * 3, [0.9] * 3)}
    kinds = [float(level) if level in (0.0, 1.0) else None for level in shade.tolist()]
    assert all(kinds.count(kind) for kind in expected) and kinds.count(None) == 10
    for row, kind in enumerate(kinds):
        own = expected.get(kind, (mean, std))
        torch.testing.assert_close(asked.mean[row], torch.as_tensor(own[0]))
        torch.testing.assert_close(asked.std[row], torch.as_tensor(own[1]))


def test_labels_of_the_images_change_nothing(zoo, inputs, images, tmp_path):
    """The same images in the same order, given to other classes of other names and sizes."""
    splits = {split: load_images(images / f"{split}.npz") for split in SPLITS}
    pixels, _ = splits["meta_train"].packed()
    sizes = [1, 17, 3, len(pixels) - 21]
    names = ("d", "a", "c", "b")
    assert tuple(sizes) != splits["meta_train"].counts
    splits["meta_train"] = ClassImages("toy", "meta_train", names, list(pixels.split(sizes)), "CC0-1.0")
    save_images(tmp_path / "other", splits, source="folder")
    first = run(tmp_path / "a", "unlabelled_heads", zoo, inputs)
    second = run(tmp_path / "b", "unlabelled_heads", zoo, inputs, read={"images": [tmp_path / "other"]})
    assert weights(first) == weights(second)
    # The images do change something.
    save_pattern_images(tmp_path / "new", classes=5, per_class=8, seed=1)
    third = run(tmp_path / "c", "unlabelled_heads", zoo, inputs, read={"images": [tmp_path / "new"]})
    assert weights(third) != weights(first)


@pytest.mark.parametrize("method", ["procedural_heads", "noise_heads", "unlabelled_heads"])
def test_a_pool_of_several_sides_is_asked_at_its_canvas(images, tmp_path, asked, method):
    small = write_random_zoo(tmp_path / "small", models=2)
    large = write_random_zoo(tmp_path / "large", models=2, dataset="other", side=2 * SIDE, seed=1)
    pool = Pool.load([small, large], label_space="global", device=CPU)
    read = [images] if method == "unlabelled_heads" else []
    fitted = FITS[method](context(method, pool=pool, options=options(method), images=read, inversion_settings=None))
    assert asked[0].shape[-1] == pool.canvas == 2 * SIDE
    assert fitted.specs[0].side is None and fitted.domains.keys() == {"toy", "other"}


def test_all_but_unlabelled_images_learn_behind_the_wall(zoo, inputs, images, tmp_path):
    with data_free_wall([images]):
        for method in FITS.keys() - {"unlabelled_heads"}:
            run(tmp_path / method, method, zoo, inputs)
        with pytest.raises(WallError, match="data-free wall"):
            run(tmp_path / "b", "unlabelled_heads", zoo, inputs)


@pytest.mark.parametrize("method", FITS)
@pytest.mark.parametrize("done", [1, 4])
@pytest.mark.parametrize("some", [None, 2])
def test_an_interrupted_run_ends_in_the_same_bits(zoo, inputs, tmp_path, method, done, some):
    changes = {"averaging": 2.0, "models_per_question": some}
    whole = run(tmp_path / "whole", method, zoo, inputs, **changes)
    with pytest.raises(InterruptedJobError):
        run(tmp_path / "resumed", method, zoo, inputs, **changes, progress=InterruptedProgress(done))
    assert list(tmp_path.glob("resumed.*"))
    resumed = run(tmp_path / "resumed", method, zoo, inputs, **changes)
    assert not list(tmp_path.glob("resumed.*"))
    assert weights(resumed) == weights(whole)
    rows = [list(csv.DictReader((f / "history.csv").read_text().splitlines())) for f in (whole, resumed)]
    assert [row["distillation"] for row in rows[0]] == [row["distillation"] for row in rows[1]]


def test_a_loss_that_is_not_finite_names_the_key(zoo, inputs, tmp_path):
    with pytest.raises(DfmlError, match=r"lower `noise_heads\.learning_rate`"):
        run(tmp_path / "a", "noise_heads", zoo, inputs, learning_rate=1e30, steps=40)


@pytest.mark.parametrize(("start", "seen"), [("best_model", True), ("random", False)])
def test_the_backbone_starts_from_the_best_model_of_its_own_network_or_fresh(pool, monkeypatch, start, seen):
    backbones = []

    def stop(backbone, *_, **__):
        backbones.append(backbone)
        raise InterruptedJobError

    monkeypatch.setattr(shared, "HeadsDistillation", stop)
    cell = context("procedural_heads", pool=pool, options=options("procedural_heads", start=start))
    with pytest.raises(InterruptedJobError):
        fit_procedural(cell)
    expected = pool.best(1)[0].network if seen else cell.new_learner(pool.side)
    for name, parameter in backbones[0].named_parameters():
        if seen and name.startswith("head."):
            assert not parameter.any()  # the zoo model's head knows other classes
        else:
            assert torch.equal(parameter, expected.get_parameter(name))
        assert parameter.requires_grad
    assert parameter.data_ptr() != expected.get_parameter(name).data_ptr()


@pytest.mark.parametrize("method", ["bank_heads", "procedural_heads"])
def test_a_backbone_of_another_side_is_shown_what_the_models_are_asked(zoo, inputs, tmp_path, monkeypatch, method):
    """Questions and answers do not depend on the learner's side, only how large it sees them."""
    shown, distillation = [], shared.HeadsDistillation

    def watched(backbone, asked, answers, *rest, **others):
        shown.append((backbone.side, asked.images, answers))
        return distillation(backbone, asked, answers, *rest, **others)

    monkeypatch.setattr(shared, "HeadsDistillation", watched)
    for side in (None, SIDE, 32):
        given = inputs(method) | {"learner": LEARNER.model_copy(update={"side": side})}
        fit_cell(tmp_path / str(side), method, options(method), zoos=[zoo], inversion_settings=None, **given)
    (_, native, answers), (_, same, _), (larger, enlarged, others) = shown
    assert (larger, enlarged.shape[-1]) == (32, 32)
    assert torch.equal(answers, others) and torch.equal(native, same)
    assert weights(tmp_path / "None") == weights(tmp_path / str(SIDE))
    assert (enlarged - 255 * resized(native / 255, 32)).abs().max() <= 0.5
