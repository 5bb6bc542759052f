"""FREE with heads: where it starts, what it keeps, and how it resumes."""

import json

import pytest
import torch

from dfml.inversion.bank import ImageBank
from dfml.methods.heads import asking as shared
from dfml.methods.heads import free_heads as module
from dfml.methods.heads.free_heads import fit
from dfml.methods.heads.settings import HeadsSettings
from dfml.zoo.pool import Pool
from support.cells import InterruptedJobError, InterruptedProgress, context, fit_cell, heads_options, write_inversion
from support.inversion import recovered
from support.learners import SPEC
from support.zoo import CPU, MEAN, SIDE, WAYS, write_random_zoo


@pytest.fixture(scope="module")
def inversion(pool, tmp_path_factory):
    return write_inversion(tmp_path_factory.mktemp("heads") / "inversion", pool)


def run(pool, inversion, **options):
    return fit(context("free_heads", pool=pool, inversion=inversion, options=heads_options(**options)))


def test_free_starts_from_the_distilled_backbone_with_a_head_of_zeros(pool, inversion, monkeypatch):
    starts = []
    original = module.FreeLoop

    def spy(cell, settings, start):
        starts.append({name: p.detach().clone() for name, p in start.items()})
        return original(cell, settings, start)

    monkeypatch.setattr(module, "FreeLoop", spy)
    fitted = run(pool, inversion)
    assert [s.iteration for s in fitted.snapshots] == [0, 1, 2]
    (distilled,) = fitted.snapshots[0].states
    assert not distilled["head.weight"].any() and not distilled["head.bias"].any()
    assert all(torch.equal(starts[0][name], t) for name, t in distilled.items())
    assert fitted.snapshots[-1].states[0]["head.weight"].any()
    assert fitted.finetune and fitted.specs == [SPEC]
    assert fitted.stages.keys() == {"heads", "inversion", "bell", "replay"}
    seconds = [s.seconds for s in fitted.snapshots]
    assert seconds == sorted(seconds) and seconds[-1] == pytest.approx(sum(fitted.stages.values()))


def test_without_free_the_distilled_backbone_is_the_learner(pool, inversion):
    fitted = run(pool, inversion, free=None)
    assert [s.iteration for s in fitted.snapshots] == [0]
    assert fitted.stages.keys() == {"heads"}
    assert fitted.teacher_passes == len(pool)  # the questions are one chunk, asked once
    assert fitted.train_episodes is None
    assert fitted.history[-1]["distillation"] > 0


@pytest.mark.parametrize(("start", "seen"), [("best_model", True), ("random", False)])
def test_the_backbone_starts_from_the_best_model_of_its_own_network_or_fresh(pool, inversion, monkeypatch, start, seen):
    monkeypatch.setattr(shared.HeadsDistillation, "step", _stop)
    backbones = []
    original = shared.HeadsDistillation.__init__

    def spy(self, backbone, *arguments, **keywords):
        backbones.append(backbone)
        original(self, backbone, *arguments, **keywords)

    monkeypatch.setattr(shared.HeadsDistillation, "__init__", spy)
    with pytest.raises(InterruptedJobError):
        run(pool, inversion, heads={"start": start, "questions": 10})
    cell = context("free_heads", pool=pool)
    expected = pool.best(1)[0].network if seen else cell.new_learner(pool.side)
    for name, parameter in backbones[0].named_parameters():
        if seen and name.startswith("head."):
            assert not parameter.any()  # the zoo model's head knows other classes
        else:
            assert torch.equal(parameter, expected.get_parameter(name))
        assert parameter.requires_grad
    assert parameter.data_ptr() != expected.get_parameter(name).data_ptr()


def _stop(self):
    raise InterruptedJobError


def test_questions_are_images_of_the_bank_unless_varied(pool, inversion):
    bank = ImageBank.load(inversion / "bank.npz", CPU)
    held = {image.numpy().tobytes() for image in bank.everything()[0]}
    for varied in (False, True):
        settings = HeadsSettings(questions=12, recolour=varied, mix=varied)
        questions = module.bank_questions(bank, pool, settings, torch.Generator().manual_seed(0)).images
        asked = [(255 * image).round().byte().numpy().tobytes() for image in questions]
        assert len(asked) == 12
        assert (set(asked) <= held) == (not varied)


@pytest.mark.parametrize("varied", [False, True])
def test_a_question_is_normalised_as_the_data_set_it_was_recovered_for(tmp_path, varied):
    grey = {"mean": [0.1, 0.1, 0.1], "std": [0.9, 0.9, 0.9]}
    zoos = [write_random_zoo(tmp_path / "a"), write_random_zoo(tmp_path / "b", dataset="other", seed=1, **grey)]
    pool = Pool.load(zoos, label_space="global", device=CPU)
    bank = ImageBank(len(pool.class_names), slots=1, images_per_class=2, side=SIDE, device=CPU)
    for model, shade in ((pool[0], 0.0), (pool[-1], 1.0)):  # one of each data set
        bank.add(recovered(model, torch.full((2 * WAYS, 3, SIDE, SIDE), shade)))
    settings = HeadsSettings(questions=40, recolour=varied, mix=varied)
    asked = module.bank_questions(bank, pool, settings, torch.Generator().manual_seed(0))
    of_other = (asked.mean == 0.1).all(1)
    assert 0 < of_other.sum() < 40
    assert torch.equal(asked.std[of_other], torch.full((int(of_other.sum()), 3), 0.9))
    assert torch.equal(asked.mean[~of_other], torch.tensor(MEAN).expand(int((~of_other).sum()), 3))
    if not varied:
        assert torch.equal(asked.images.amin((1, 2, 3)), of_other.float())


@pytest.mark.parametrize("done", [3, 7])
def test_a_resumed_stage_writes_the_same_learner(zoo, inversion, tmp_path, done):
    """Interrupted in the distillation (six steps) and in FREE."""

    def run_stage(name, **changes):
        return fit_cell(tmp_path / name, "free_heads", heads_options(), zoos=[zoo], inversion=inversion, **changes)

    expected = run_stage("whole")
    with pytest.raises(InterruptedJobError):
        run_stage("resumed", progress=InterruptedProgress(done))
    assert list(tmp_path.glob("resumed.*"))
    found = run_stage("resumed")
    assert not list(tmp_path.glob("resumed.*"))
    for name in ("learner.safetensors",):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    manifests = [json.loads((folder / "learner.json").read_text()) for folder in (expected, found)]
    assert manifests[0]["teacher_passes"] == manifests[1]["teacher_passes"]
