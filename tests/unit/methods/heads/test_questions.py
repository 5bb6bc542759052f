"""Questions to the zoo: what varying and mixing may do to an image, and whose answer is whose."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dfml.imaging.colour import mix, recolour
from dfml.methods.heads.questions import TOGETHER, ask, ask_some, draw_asked, passes, varied
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


@settings(deadline=None, max_examples=60)
@given(models=st.integers(1, 40), questions=st.integers(1, 60), data=st.data())
def test_each_question_has_its_own_distinct_models_and_each_model_about_as_many_questions(models, questions, data):
    count = data.draw(st.integers(1, models))
    who = draw_asked(questions, models, count, generator(0))
    assert who.shape == (questions, count)
    assert all(len(set(row)) == count for row in who.tolist())
    assert who.min() >= 0 and who.max() < models
    # At most once in every shuffle of the models.
    assert who.flatten().bincount(minlength=models).max() <= -(-questions // (models // count))


def test_models_are_asked_evenly_and_not_always_in_the_same_company():
    who = draw_asked(4000, 20, 5, generator(1))
    assert torch.equal(who.flatten().bincount(), torch.full((20,), 1000))
    together = torch.zeros(20, 20)
    for row in who:
        together[row[:, None], row] += 1
    pairs = together[~torch.eye(20, dtype=torch.bool)] / 1000
    assert pairs.min() > 0.15 and pairs.max() < 0.27  # 4/19 of a model's questions are any other's as well
    assert torch.equal(who, draw_asked(4000, 20, 5, generator(1)))


@pytest.mark.parametrize("ways", [(3, 3, 3, 3), (3, 5, 2, 3)])
def test_some_answers_are_those_of_all(ways):
    models = [random_model(seed=seed, ways=own, dtype=torch.float32) for seed, own in enumerate(ways)]
    images = bytes_of(TOGETHER + 30)
    who = draw_asked(len(images), len(models), 2, generator(2))
    everything = ask(models, images, statistics="stored")
    some = ask_some(models, images, who, statistics="stored")
    assert some.shape == (2, len(images), max(ways)) and not some.requires_grad
    for place in range(2):
        wanted = everything[who[:, place], torch.arange(len(images))]
        torch.testing.assert_close(some[place], wanted, rtol=1e-4, atol=1e-5)


def test_models_that_are_asked_nothing_are_left_alone():
    models = [random_model(seed=seed, dtype=torch.float32) for seed in range(3)]
    models[1] = models[1].carrying(torch.nn.Identity())  # whose answers would not fit
    who = torch.tensor([[0, 2], [2, 0]])
    answers = ask_some(models, bytes_of(2), who, statistics="stored")
    torch.testing.assert_close(answers[0, 0], models[0].logits(bytes_of(2) / 255)[0], rtol=1e-4, atol=1e-5)


def test_by_the_batch_a_model_sees_the_questions_that_it_is_asked():
    model = random_model(dtype=torch.float32)
    other = random_model(seed=1, dtype=torch.float32)
    images = bytes_of(12)
    who = torch.tensor([[0]] * 5 + [[1]] * 7)
    own = ask([model], images[:5], statistics="batch")[0]
    assert torch.equal(ask_some([model, other], images, who, statistics="batch")[0, :5], own)


def test_a_pass_is_a_batch_of_questions():
    assert (passes(1), passes(TOGETHER), passes(TOGETHER + 1)) == (1, 1, 2)
    assert passes(torch.tensor([0, 1, TOGETHER, TOGETHER + 1])) == 4
