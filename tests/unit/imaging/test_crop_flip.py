"""Random crops and flips: what they can give, how often, and the scale of pixels."""

import pytest
import torch
import torch.nn.functional as F

from dfml.imaging.crop_flip import crop_flip, draw_crop_flips
from dfml.imaging.pixels import denormalise, normalise

GREATEST = 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(x, seed=0, *, padding=GREATEST, flip=True, per_sample=True):
    return cropped_and_flipped(x, padding=padding, flip=flip, per_sample=per_sample, generator=generator(seed))


def cropped_and_flipped(x, **options):
    return crop_flip(x, draw_crop_flips(images=len(x), **options))


def candidates(image, *, padding, flip):
    """Every crop of the padded image, and its mirror images if `flip`."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (padding,) * 4)
    crops = [padded[:, i : i + height, j : j + width] for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
    return crops + [crop.flip(-1) for crop in crops] if flip else crops


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 9)])
def test_each_result_is_one_of_the_padded_crops(shape, flip):
    x = torch.rand(24, *shape, generator=generator(1))
    for image, result in zip(x, augmented(x, flip=flip), strict=True):
        assert any(torch.equal(result, crop) for crop in candidates(image, padding=GREATEST, flip=flip))


def test_every_shift_and_flip_is_drawn():
    image = torch.rand(1, 4, 4, generator=generator(2))
    results = augmented(image.expand(400, -1, -1, -1), padding=1)
    kinds = candidates(image, padding=1, flip=True)
    drawn = [sum(torch.equal(result, kind) for result in results) for kind in kinds]
    assert sum(drawn) == 400
    assert min(drawn) > 5


def test_copies_differ_per_sample_and_agree_per_batch():
    copies = torch.rand(1, 3, 16, 16, generator=generator(3)).expand(64, -1, -1, -1)
    assert len(augmented(copies, per_sample=True).flatten(1).unique(dim=0)) > 1
    assert len(augmented(copies, per_sample=False).flatten(1).unique(dim=0)) == 1


def test_the_batch_is_drawn_anew_each_time():
    x = torch.rand(2, 3, 16, 16, generator=generator(4))
    draws = generator()
    results = [cropped_and_flipped(x, padding=4, flip=True, per_sample=False, generator=draws) for _ in range(20)]
    assert len(torch.stack(results).flatten(1).unique(dim=0)) > 10


@pytest.mark.parametrize("per_sample", [True, False])
def test_same_seed_same_bits(per_sample):
    x = torch.rand(8, 3, 8, 8, generator=generator(5))
    first = augmented(x, 7, per_sample=per_sample)
    assert torch.equal(first, augmented(x, 7, per_sample=per_sample))
    assert not torch.equal(first, augmented(x, 8, per_sample=per_sample))


def test_without_padding_and_flip_nothing_changes():
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(augmented(x, padding=0, flip=False), x)


@pytest.mark.parametrize("per_sample", [True, False])
def test_gradients_of_both_orders(per_sample):
    x = torch.rand(3, 2, 4, 5, dtype=torch.float64, generator=generator(6), requires_grad=True)

    def loss(x):
        return augmented(x, 11, padding=2, per_sample=per_sample) ** 3

    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)


def test_gradient_equals_that_of_indexing():
    x = torch.rand(5, 3, 6, 6, generator=generator(7), requires_grad=True)
    weights = torch.rand(5, 3, 6, 6, generator=generator(8))
    (gradient,) = torch.autograd.grad((augmented(x) * weights).sum(), x)
    positions = torch.arange(1, 37, dtype=torch.float64).reshape(1, 1, 6, 6).expand(5, 1, 6, 6)
    source = augmented(positions).long().flatten(2).expand(5, 3, 36)
    expected = torch.zeros(5, 3, 37).scatter_add(2, source, weights.flatten(2))[..., 1:].reshape(5, 3, 6, 6)
    assert torch.equal(gradient, expected)


def test_works_under_function_transforms():
    x = torch.rand(4, 3, 8, 8, generator=generator(9))
    gradient = torch.func.grad(lambda x: (augmented(x) ** 2).sum())(x)
    assert torch.allclose(gradient.sum(), 2 * augmented(x).sum())


@pytest.mark.parametrize("shape", [(3, 8, 8), (4, 3, 8, 8), (2, 5, 3, 8, 8)])
def test_denormalise_undoes_normalise(shape):
    x = torch.rand(shape, generator=generator(10))
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    normalised = normalise(x, mean, std)
    assert torch.allclose(denormalise(normalised, mean, std), x, atol=1e-6)
    assert torch.allclose(normalised[..., 2, :, :], (x[..., 2, :, :] - 0.3) / 0.3, atol=1e-6)
    assert torch.equal(normalised, normalise(x, torch.tensor(mean), torch.tensor(std)))
