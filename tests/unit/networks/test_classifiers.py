"""Conv4 and the ResNets: sizes, resolutions, features, initial weights."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from dfml.artefacts.zoo import NetworkSpec
from dfml.compute.seeds import torch_generator
from dfml.errors import DfmlError
from dfml.networks.build import build_network

FAMILIES = ("conv4", "resnet10", "resnet18")


def spec(family="conv4", **changes):
    return NetworkSpec(**{"family": family, "width": 4, "ways": 3, "side": 16, **changes})


def built(family="conv4", *, seed=0, episodic=False, **changes):
    return build_network(spec(family, **changes), generator=torch_generator(seed), episodic=episodic)


@pytest.mark.parametrize(
    ("family", "width", "side", "count"),
    [
        ("conv4", 32, 32, 29_541),
        ("conv4", 32, 84, 32_901),
        ("conv4", 32, None, 29_061),
        ("resnet10", 64, 32, 4_900_677),
        ("resnet18", 64, 84, 11_171_397),
    ],
)
def test_published_sizes(family, width, side, count):
    with torch.device("meta"):
        network = build_network(spec(family, width=width, side=side, ways=5))
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [16, 20])
def test_the_head_answers_from_the_features(family, side):
    network = built(family, side=side).eval()
    images = torch.rand(2, 3, side, side)
    features = network.features(images)
    assert features.shape == (2, network.feature_size)
    assert torch.equal(network(images), network.head(features))


@pytest.mark.parametrize("grid", [1, 2])
def test_any_resolution_form_takes_small_and_large_images(grid):
    network = built(side=None, grid=grid).eval()
    assert network.feature_size == 4 * grid**2
    for side in (16, 32, 84):
        logits = network(torch.rand(2, 3, side, side))
        assert logits.shape == (2, 3)
        assert logits.isfinite().all()


def test_a_grid_as_fine_as_the_last_map_keeps_all_of_it():
    """Two places a row are all that four halvings leave of 32 pixels."""
    own, of_any_side = built(side=32).eval(), built(side=None, grid=2).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(own(images), of_any_side(images))


def test_a_description_names_a_grid_only_where_there_is_one():
    """So files of networks without one are, to the byte, those of before."""
    assert "grid" not in spec(side=None).model_dump()
    assert NetworkSpec(**spec(side=None, grid=2).model_dump()).grid == 2


def test_a_fixed_head_names_the_side_it_wants():
    with pytest.raises(DfmlError, match="head for 16-pixel images and was given 20"):
        built(side=16)(torch.rand(2, 3, 20, 20))


def test_pooling_before_the_relu_changes_neither_answers_nor_gradients():
    network = built().double().train()
    usual = nn.Sequential(
        *[network.blocks[i] for block in range(0, 16, 4) for i in (block, block + 1, block + 3, block + 2)]
    )
    images = torch.rand(5, 3, 16, 16, dtype=torch.float64)
    weights = list(network.blocks.parameters())
    ours, theirs = network.features(images), usual(images).flatten(1)
    assert torch.equal(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), weights),
        torch.autograd.grad(theirs.square().sum(), weights),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_stem_relu_is_a_choice():
    with_relu, without = built("resnet10"), built("resnet10", stem_relu=False)
    without.load_state_dict(with_relu.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert not torch.allclose(with_relu.eval()(images), without.eval()(images))


@pytest.mark.parametrize("family", FAMILIES)
def test_initial_weights_are_those_of_the_generator(family):
    first, again, other = built(family), built(family), built(family, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    for name, module in first.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            for own, theirs in zip(module.parameters(), other.get_submodule(name).parameters(), strict=True):
                assert not torch.equal(own, theirs), name


def test_initial_weights_follow_the_published_law():
    network = built(width=64, ways=50)
    convolution, norm, head = network.blocks[4], network.blocks[5], network.head
    assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(convolution.weight.mean().item()) < 1e-3
    for values, fan_in in ((convolution.bias, 9 * 64), (head.weight, 64), (head.bias, 64)):
        bound = 1 / math.sqrt(fan_in)
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.25)
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(norm.bias, torch.zeros(64))


@pytest.mark.parametrize(
    "changes", [{"family": "vgg"}, {"width": 0}, {"ways": 0}, {"side": 8}, {"width": "4"}, {"depth": 3}]
)
def test_an_impossible_description_is_refused(changes):
    with pytest.raises(ValidationError):
        spec(**changes)
