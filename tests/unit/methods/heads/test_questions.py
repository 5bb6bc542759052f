"""Questions to the zoo: what varying and mixing may do to an image, and whose answer is whose."""

import copy

import pytest
import torch
import torch.nn.functional as F

from dfml.imaging.colour import mix, recolour
from dfml.methods.heads.questions import TOGETHER, ask, varied
from dfml.methods.heads.settings import HeadsSettings
from support.learners import generator
from support.zoo import SIDE, random_model

COUNT = 600


def plain(count=COUNT):
    """Images of one grey level each, all different."""
    return torch.linspace(0, 1, count)[:, None, None, None].expand(-1, 3, SIDE, SIDE).contiguous()


def test_a_third_of_the_images_stays_is_pasted_on_or_blended():
    images = plain()
    mixed = mix(images, generator(0))
    spread = mixed.flatten(1).amax(1) - mixed.flatten(1).amin(1)
    stays = (mixed == images).flatten(1).all(1)
    pasted = spread > 1e-6  # a box of another level on this one
    blended = ~stays & ~pasted
    for kind in (stays, pasted, blended):
        assert 0.25 < kind.float().mean() < 0.42
    assert mixed.min() >= 0 and mixed.max() <= 1
    levels = [len(image.unique()) for image in mixed[pasted]]
    assert max(levels) == 2  # nothing but the two images
    kept = (mixed == images).float().mean((1, 2, 3))[pasted]
    assert kept.min() < 0.3 and kept.max() > 0.9  # small boxes and large ones


def test_mixing_depends_on_the_seed_and_leaves_its_input():
    images = plain(30)
    before = images.clone()
    assert torch.equal(mix(images, generator(0)), mix(images, generator(0)))
    assert not torch.equal(mix(images, generator(0)), mix(images, generator(1)))
    assert torch.equal(images, before)


def test_recolouring_permutes_channels_and_changes_each_linearly():
    draws = generator(0)
    images = 0.5 + 0.1 * (torch.rand(COUNT, 3, SIDE, SIDE, generator=draws) - 0.5)  # far from clipping
    varied = recolour(images, draws)
    source, target = (x.flatten(2) - x.flatten(2).mean(2, keepdim=True) for x in (images, varied))
    slopes = (target @ source.transpose(1, 2)) / source.square().sum(2)[:, None]  # [image, to, from]
    chosen = slopes.abs().argmax(2)
    assert torch.equal(chosen.sort(1).values, torch.arange(3).expand(COUNT, 3))
    assert len(chosen.unique(dim=0)) == 6
    contrast = slopes.gather(2, chosen[..., None])[..., 0]
    assert contrast.abs().min() > 0.39 and contrast.abs().max() < 1.61
    inverted = contrast < 0
    assert torch.equal(inverted.all(1), inverted.any(1))  # whole images, not channels
    assert 0.23 < inverted.float().mean() < 0.37
    explained = contrast[..., None] * source.gather(1, chosen[..., None].expand_as(source))
    torch.testing.assert_close(target, explained, rtol=0, atol=1e-5)
    shift = varied.mean((2, 3)) - 0.5
    assert shift.abs().max() < 0.21 and shift.abs().max() > 0.15


def test_recoloured_images_stay_images():
    varied = recolour(torch.randint(0, 2, (50, 3, SIDE, SIDE), generator=generator(0)).float(), generator(1))
    assert varied.min() >= 0 and varied.max() <= 1


def test_every_model_answers_every_question():
    models = [random_model(seed=seed, dtype=torch.float32) for seed in range(3)]
    images = bytes_of(TOGETHER + 5)
    answers = ask(models, images, statistics="stored")
    assert answers.shape == (3, TOGETHER + 5, 3) and not answers.requires_grad
    for model, own in zip(models, answers, strict=True):
        torch.testing.assert_close(own, model.logits(images / 255), rtol=1e-4, atol=1e-5)


def test_models_may_normalise_by_the_questions_asked_together():
    """As torch's own network does in training mode; the stored statistics are neither used nor moved."""
    models = [random_model(seed=seed, dtype=torch.float32) for seed in range(2)]
    stored = [{name: b.clone() for name, b in model.module.named_buffers()} for model in models]
    images = bytes_of(TOGETHER + 4)
    answers = ask(models, images, statistics="batch")
    assert (answers - ask(models, images, statistics="stored")).abs().max() > 0.1
    for model, own, buffers in zip(models, answers, stored, strict=True):
        assert all(torch.equal(b, buffers[name]) for name, b in model.module.named_buffers())
        network = copy.deepcopy(model.module).train()
        halves = [network(model.inputs(half / 255)) for half in images.tensor_split(2)]
        torch.testing.assert_close(own, torch.cat(halves).detach(), rtol=1e-4, atol=1e-4)


def bytes_of(count):
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator(0))


@pytest.mark.parametrize("changed", [None, "recolour", "mix", "crop_padding"])
def test_questions_are_varied_as_the_settings_say(changed):
    off = {"recolour": False, "mix": False, "crop_padding": 0}
    settings = HeadsSettings(**(off | ({changed: 2 if changed == "crop_padding" else True} if changed else {})))
    images = bytes_of(60)
    found = varied(images, settings, generator(1))
    assert found.shape == images.shape and found.dtype == torch.uint8
    assert torch.equal(found, varied(images, settings, generator(1)))
    assert torch.equal(found, images) == (changed is None)
    if changed == "crop_padding":
        # Every question is one of the 5 x 5 windows of its image, mirrored or not; not all of them the same.
        padded = F.pad(images, (2,) * 4).unfold(2, SIDE, 1).unfold(3, SIDE, 1).flatten(2, 3)  # [n, 3, 25, side, side]
        either = torch.cat([padded, padded.flip(-1)], 2)
        which = (either == found[:, :, None]).flatten(3).all(3).all(1)
        assert which.any(1).all()
        assert len(which.int().argmax(1).unique()) > 20


def test_models_of_several_numbers_of_classes_answer_side_by_side():
    models = [random_model(seed=seed, ways=ways, dtype=torch.float32) for seed, ways in enumerate((3, 5, 2))]
    images = torch.randint(0, 256, (4, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator(0))
    answers = ask(models, images, statistics="stored")
    assert answers.shape == (3, 4, 5)
    for model, logits in zip(models, answers, strict=True):
        ways = len(model.class_ids)
        torch.testing.assert_close(logits[:, :ways], model.logits(images / 255))
        assert (logits.softmax(1)[:, ways:] == 0).all()
