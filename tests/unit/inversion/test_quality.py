"""Measures of recovered images, with models whose answers are known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dfml.compute.seeds import torch_generator
from dfml.inversion.bank import ImageBank
from dfml.inversion.quality import CROSS_IMAGES, cross_model_accuracy, judge_scores, save_grid, teacher_scores
from dfml.zoo.pool import Pool
from support.inversion import recovered
from support.zoo import CPU, SIDE, random_model

PLAIN = {"mean": torch.zeros(3), "std": torch.ones(3)}


class Oracle(nn.Module):
    """Reads an image's class off its grey level, in 255ths; a liar answers with the next class of its list."""

    def __init__(self, classes, *, liar=False):
        super().__init__()
        self.classes, self.liar = torch.tensor(classes), liar

    def forward(self, images):
        known = (images[:, 0, 0, 0, None] * 255).round() == self.classes
        return 5 * (known.roll(1, 1) if self.liar else known).float()


def oracle(index, classes, **options):
    network = Oracle(classes, **options)
    return random_model(seed=index, ways=len(classes), classes=torch.tensor(classes), network=network, **PLAIN)


def images_of(classes, per_class):
    levels = torch.tensor(classes * per_class) / 255
    return levels.view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)


def filled(models, per_class=2):
    bank = ImageBank(8, slots=2, images_per_class=per_class, side=SIDE, device=CPU)
    for model in models:
        bank.add(recovered(model, images_of(model.classes.tolist(), per_class)))
    return bank


def cross(models, *, fill=None, per_class=2):
    pool = Pool(models, [str(c) for c in range(8)])
    return cross_model_accuracy(pool, filled(models if fill is None else fill, per_class), torch_generator(0))


def test_models_that_share_a_class_are_asked_about_it():
    assert cross([oracle(0, [0, 1, 2]), oracle(1, [2, 3, 4])]) == 100
    assert cross([oracle(0, [0, 1, 2]), oracle(1, [2, 3, 4], liar=True)]) == 50
    assert cross([oracle(0, [0, 1, 2], liar=True), oracle(1, [2, 3, 4], liar=True)]) == 0


def test_no_shared_class_no_answer():
    assert cross([oracle(0, [0, 1, 2]), oracle(1, [3, 4, 5])]) is None


def test_a_model_is_not_asked_about_its_own_images():
    models = [oracle(0, [0, 1, 2], liar=True), oracle(1, [2, 3, 4])]
    assert cross(models, fill=models[:1]) == 100
    assert cross(models, fill=[]) is None


def test_services_are_not_asked():
    service = replace(oracle(1, [2, 3, 4], liar=True), answers_only=True)
    models = [oracle(0, [0, 1, 2]), service, oracle(2, [2, 5, 6])]
    assert cross(models, fill=[models[0], models[2]]) == 100


def test_a_sample_of_many_images_is_enough():
    asked = []
    model = oracle(1, [2, 3, 4])
    model.network.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    assert cross([oracle(0, [2, 3, 4]), model], per_class=CROSS_IMAGES) == 100
    assert asked == [CROSS_IMAGES]


def test_teacher_scores_by_hand():
    item = recovered(oracle(0, [0, 1, 2]), images_of([0, 1, 1], 4))
    loss, accuracy = teacher_scores(item)
    right, wrong = math.log(math.exp(5) + 2) - 5, math.log(math.exp(5) + 2)
    assert accuracy == pytest.approx(200 / 3)
    assert loss == pytest.approx((2 * right + wrong) / 3)


class Judge(nn.Module):
    """Answers with the classes it is told, and has the features it is told."""

    def __init__(self, answers, features):
        super().__init__()
        self.answers, self.told = torch.tensor(answers), torch.tensor(features)

    def forward(self, images):
        return nn.functional.one_hot(self.answers, 3).float()

    def features(self, images):
        return self.told


def judged(answers, features, *, per_class=2):
    item = recovered(oracle(0, [0, 1, 2]), images_of([0, 1, 2], per_class))
    return judge_scores([item], [Judge(answers, features)])


def test_judges_accuracy_and_diversity_by_hand():
    along, across, back = [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]
    accuracy, diversity = judged([0, 1, 2, 0, 2, 1], [along, along, along, along, across, back])
    assert accuracy == pytest.approx(100 * 4 / 6)
    assert diversity == pytest.approx((0 + 1 + 2) / 3)


def test_equal_images_have_no_diversity():
    assert judged([0, 1, 2] * 3, [[1.0, 2.0]] * 9, per_class=3) == (100, pytest.approx(0, abs=1e-6))


def test_diversity_of_single_images_is_not_defined():
    assert judged([0, 1, 2], [[1.0, 2.0]] * 3, per_class=1) == (100, None)


def test_several_judges_weigh_the_same():
    items = [recovered(oracle(0, [0, 1, 2]), images_of([0, 1, 2], 2)) for _ in range(2)]
    judges = [Judge([0, 1, 2] * 2, [[1.0, 0.0]] * 6), Judge([1, 2, 0] * 2, [[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)]
    assert judge_scores(items, judges) == (50, pytest.approx(0.5))


def test_grid_places_images_row_by_row(tmp_path):
    from PIL import Image

    levels = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8])
    images = levels.view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    save_grid(images, tmp_path / "grid.png", columns=3, scale=2, gap=1)
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * 9 + 1, 2 * 9 + 1)
        centres = [picture.getpixel((5 + 9 * (i % 3), 5 + 9 * (i // 3))) for i in range(6)]
        assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert centres == [(round(255 * level.item()),) * 3 for level in levels] + [(255, 255, 255)]
