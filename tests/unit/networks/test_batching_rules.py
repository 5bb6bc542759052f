"""Operations within ``vmap`` that have no rule of their own, and convolutions as products."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from dfml.networks.batching_rules import ConvolutionsAsProducts, MissingRules
from support.learners import generator

TASKS = 3


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(sum(shape)))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda a, b, c: (a + 0).addcmul_(b, c, value=-2), [(2, 4, 3, 3), (2, 4, 3, 3), (4, 1, 1)]),
        (lambda a, b, c: (a + 0).addmm_(b, c), [(2, 5), (2, 3), (3, 5)]),
        (lambda z: torch.batch_norm_update_stats(z, None, None, 0.0), [(4, 2, 5, 5)]),
        (lambda z: z.contiguous(memory_format=torch.channels_last), [(2, 3, 4, 4)]),
        (lambda z: z.transpose(0, 1).contiguous(), [(2, 3)]),
    ],
    ids=["addcmul_", "addmm_", "statistics", "channels last", "contiguous"],
)
def test_what_stands_in_gives_the_values_of_every_task(function, shapes):
    given = [draw(TASKS, *shape) for shape in shapes]
    with MissingRules():
        together = vmap(function)(*given)
    alone = [function(*own) for own in zip(*given, strict=True)]
    for found, expected in zip(_tuple(together), zip(*map(_tuple, alone), strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


def _tuple(found):
    return found if isinstance(found, tuple) else (found,)


def test_channels_last_is_how_every_task_lies_in_memory():
    with MissingRules():
        found = vmap(lambda z: z.contiguous(memory_format=torch.channels_last))(draw(TASKS, 2, 3, 4, 4))
    assert found.permute(0, 1, 3, 4, 2).is_contiguous()


@pytest.fixture
def products(monkeypatch):
    """How many convolutions were products."""
    made, unfold = [], F.unfold
    monkeypatch.setattr(F, "unfold", lambda *given: made.append(given) or unfold(*given))
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2, "padding": 1},
        {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
        {"padding": 1, "bias": True},
    ],
    ids=str,
)
def test_a_product_is_the_convolution(products, options):
    if options.pop("bias", False):
        options["bias"] = draw(TASKS, 5)
    images, kernel = draw(TASKS, 2, 4, 9, 8), draw(TASKS, 5, 4, 3, 3)
    own = [{name: value[i] if name == "bias" else value for name, value in options.items()} for i in range(TASKS)]
    expected = torch.stack([F.conv2d(images[i], kernel[i], **own[i]) for i in range(TASKS)])
    with ConvolutionsAsProducts(10**6):
        found = torch.stack([F.conv2d(images[i], kernel[i], **own[i]) for i in range(TASKS)])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert len(products) == TASKS


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"stride": (1, 3), "padding": (2, 0), "output_padding": (0, 2), "dilation": (1, 2)},
        {"padding": 1, "bias": True},
    ],
    ids=str,
)
def test_so_is_a_transposed_one(monkeypatch, options):
    made, fold = [], F.fold
    monkeypatch.setattr(F, "fold", lambda *given: made.append(given) or fold(*given))
    if options.pop("bias", False):
        options["bias"] = draw(5)
    images, kernel = draw(2, 4, 6, 5), draw(4, 5, 4, 3)
    expected = F.conv_transpose2d(images, kernel, **options)
    for most, count in ((59, 0), (60, 1)):
        with ConvolutionsAsProducts(most):
            found = F.conv_transpose2d(images, kernel, **options)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert len(made) == count


def test_no_more_than_the_given_number_of_values(products):
    images, kernel = draw(2, 4, 6, 6), draw(5, 4, 3, 3)
    for most, made in ((71, 0), (72, 1)):
        with ConvolutionsAsProducts(most):
            F.conv2d(images, kernel, padding=1)
        assert len(products) == made


def test_groups_and_padding_by_name_are_left_to_the_library(products):
    images, kernel = draw(2, 4, 6, 6), draw(4, 2, 3, 3)
    with ConvolutionsAsProducts(10**6):
        found = F.conv2d(images, kernel, None, 1, 1, 1, 2), F.conv2d(images, draw(5, 4, 3, 3), padding="same")
        halves = F.conv_transpose2d(images, draw(4, 3, 3, 3), None, 1, 1, 0, 2)
    torch.testing.assert_close(found[0], F.conv2d(images, kernel, padding=1, groups=2))
    assert found[1].shape == (2, 5, 6, 6) and halves.shape == (2, 6, 6, 6) and not products
