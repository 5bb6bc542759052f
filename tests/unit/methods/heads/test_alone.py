"""One head per zoo model without inversion: on noise, and on real images of another domain without their labels."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from dfml.data.images import SPLITS, ClassImages, load_images, save_images
from dfml.errors import DfmlError
from dfml.jobs.wall import WallError, data_free_wall
from dfml.methods.heads import asking as shared
from dfml.methods.heads.alone import fit_noise, fit_unlabelled
from dfml.methods.heads.settings import NoiseHeadsSettings, UnlabelledHeadsSettings
from dfml.zoo.pool import Pool
from support.cells import InterruptedJobError, InterruptedProgress, context, fit_cell
from support.zoo import CPU, SIDE, save_pattern_images, write_random_zoo

TINY = {"steps": 6, "questions": 30, "batch_size": 8, "crop_padding": 1}
FITS = {"noise_heads": fit_noise, "unlabelled_heads": fit_unlabelled}


def options(method, **changes):
    section = NoiseHeadsSettings if method == "noise_heads" else UnlabelledHeadsSettings
    return section(**(TINY | changes)).model_dump(mode="json")


def run(folder, method, zoo, images, *, progress=None, **changes):
    read = {"images": [images]} if method == "unlabelled_heads" else {}
    made = options(method, **changes)
    return fit_cell(folder, method, made, zoos=[zoo], inversion_settings=None, progress=progress, **read)


def weights(folder):
    return (folder / "learner.safetensors").read_bytes()


@pytest.mark.parametrize("method", FITS)
def test_the_distilled_backbone_is_the_learner_with_a_head_of_zeros(zoo, pool, images, tmp_path, method):
    folder = run(tmp_path / "learner", method, zoo, images)
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
def test_answers_are_all_that_is_asked_of_the_models(zoo, images, method):
    pool = Pool.load([zoo], label_space="global", device=CPU, access="logits")
    read = [images] if method == "unlabelled_heads" else []
    made = options(method, start="random")
    FITS[method](context(method, pool=pool, options=made, images=read, inversion_settings=None))
    assert [model.network.queries for model in pool] == [TINY["questions"]] * len(pool)


def test_teacher_passes_count_every_chunk_of_questions(zoo, images, tmp_path):
    folder = run(tmp_path / "learner", "noise_heads", zoo, images, questions=shared.CHUNK + 1, steps=1)
    assert json.loads((folder / "learner.json").read_text())["teacher_passes"] == 2 * 4


@pytest.fixture
def asked(monkeypatch):
    """The questions of a run, as the models are asked them."""
    seen = []
    original = shared.ask
    monkeypatch.setattr(shared, "ask", lambda models, x: seen.append(x) or original(models, x))
    return seen


def test_noise_is_uniform_and_depends_on_the_seed_alone(zoo, images, tmp_path, asked):
    plain = {"recolour": False, "mix": False, "questions": 200}
    run(tmp_path / "a", "noise_heads", zoo, images, **plain)
    run(tmp_path / "b", "noise_heads", zoo, images, **plain, learning_rate=0.1)
    noise, again = asked
    assert torch.equal(noise, again) and noise.shape == (200, 3, SIDE, SIDE)
    counts = torch.histc(noise, 10, 0, 1) / noise.numel()
    assert (counts - 0.1).abs().max() < 0.005
    assert noise.mean(0).std() < 0.05  # no pixel is special


def test_unlabelled_questions_are_images_of_the_folder(zoo, images, tmp_path, asked):
    run(tmp_path / "a", "unlabelled_heads", zoo, images, recolour=False, mix=False)
    held = {image.numpy().tobytes() for image in load_images(images / "meta_train.npz").packed()[0]}
    assert {(255 * image).round().byte().numpy().tobytes() for image in asked[0]} <= held
    assert len({image.numpy().tobytes() for image in asked[0]}) > 10


def test_labels_of_the_images_change_nothing(zoo, images, tmp_path):
    """The same images in the same order, given to other classes of other names and sizes."""
    splits = {split: load_images(images / f"{split}.npz") for split in SPLITS}
    pixels, _ = splits["meta_train"].packed()
    sizes = [1, 17, 3, len(pixels) - 21]
    names = ("d", "a", "c", "b")
    assert tuple(sizes) != splits["meta_train"].counts
    splits["meta_train"] = ClassImages("toy", "meta_train", names, list(pixels.split(sizes)), "CC0-1.0")
    save_images(tmp_path / "other", splits, source="folder")
    first = run(tmp_path / "a", "unlabelled_heads", zoo, images)
    second = run(tmp_path / "b", "unlabelled_heads", zoo, tmp_path / "other")
    assert weights(first) == weights(second)
    # The images do change something.
    save_pattern_images(tmp_path / "new", classes=5, per_class=8, seed=1)
    assert weights(run(tmp_path / "c", "unlabelled_heads", zoo, tmp_path / "new")) != weights(first)


@pytest.mark.parametrize("method", FITS)
def test_a_pool_of_several_sides_is_asked_at_its_canvas(images, tmp_path, asked, method):
    small = write_random_zoo(tmp_path / "small", models=2)
    large = write_random_zoo(tmp_path / "large", models=2, dataset="other", side=2 * SIDE, seed=1)
    pool = Pool.load([small, large], label_space="global", device=CPU)
    read = [images] if method == "unlabelled_heads" else []
    fitted = FITS[method](context(method, pool=pool, options=options(method), images=read, inversion_settings=None))
    assert asked[0].shape[-1] == pool.canvas == 2 * SIDE
    assert fitted.specs[0].side is None and fitted.domains.keys() == {"toy", "other"}


def test_noise_learns_behind_the_wall_and_unlabelled_images_lie_outside(zoo, images, tmp_path):
    with data_free_wall([images]):
        run(tmp_path / "a", "noise_heads", zoo, images)
        with pytest.raises(WallError, match="data-free wall"):
            run(tmp_path / "b", "unlabelled_heads", zoo, images)


@pytest.mark.parametrize("method", FITS)
@pytest.mark.parametrize("done", [1, 4])
def test_an_interrupted_run_ends_in_the_same_bits(zoo, images, tmp_path, method, done):
    whole = run(tmp_path / "whole", method, zoo, images)
    with pytest.raises(InterruptedJobError):
        run(tmp_path / "resumed", method, zoo, images, progress=InterruptedProgress(done))
    assert list(tmp_path.glob("resumed.*"))
    resumed = run(tmp_path / "resumed", method, zoo, images)
    assert not list(tmp_path.glob("resumed.*"))
    assert weights(resumed) == weights(whole)
    rows = [list(csv.DictReader((f / "history.csv").read_text().splitlines())) for f in (whole, resumed)]
    assert [row["distillation"] for row in rows[0]] == [row["distillation"] for row in rows[1]]


def test_a_loss_that_is_not_finite_names_the_key(zoo, images, tmp_path):
    with pytest.raises(DfmlError, match=r"lower `noise_heads\.learning_rate`"):
        run(tmp_path / "a", "noise_heads", zoo, images, learning_rate=1e30, steps=40)
