"""What a pool gives of its models is all that a method can get."""

import copy

import pytest
import torch
from torch.autograd import forward_ad

from dfml.errors import DfmlError
from dfml.inversion.losses import StatisticsGap
from dfml.zoo.access import AccessError, GradientsOnly, LogitsOnly
from dfml.zoo.pool import Pool
from support.zoo import CPU, SIDE, same_bits, write_random_zoo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_random_zoo(tmp_path_factory.mktemp("zoo"), models=2)


def load(folder, access):
    return Pool.load([folder], label_space="global", device=CPU, access=access)


@pytest.mark.parametrize("access", ["gradients", "logits"])
def test_a_sealed_model_answers_as_the_open_one(folder, access):
    images = torch.rand(4, 3, SIDE, SIDE)
    for open_model, sealed in zip(load(folder, "weights"), load(folder, access), strict=True):
        assert same_bits(open_model.logits(images), sealed.logits(images))
        assert (sealed.class_ids, sealed.selection_accuracy) == (open_model.class_ids, open_model.selection_accuracy)


def test_gradients_reach_the_images_where_they_are_given(folder):
    images = torch.rand(4, 3, SIDE, SIDE, requires_grad=True)
    found = [
        torch.autograd.grad(load(folder, access)[0].logits(images).square().sum(), images)[0]
        for access in ("weights", "gradients")
    ]
    assert same_bits(*found) and found[0].abs().max() > 0


@pytest.mark.parametrize("kind", [GradientsOnly, LogitsOnly])
@pytest.mark.parametrize(
    "name", ["parameters", "named_parameters", "state_dict", "modules", "blocks", "head", "weight"]
)
def test_a_sealed_model_shows_no_weights(folder, kind, name):
    sealed = kind(load(folder, "weights")[0].network)
    with pytest.raises(AccessError, match=f"`{name}` needs its weights"):
        getattr(sealed, name)
    assert not hasattr(sealed, name)
    assert not any(isinstance(getattr(sealed, slot), torch.nn.Module) for slot in sealed.__slots__)


def test_statistics_of_a_sealed_model_are_out_of_reach(folder):
    with pytest.raises(DfmlError, match="gives its answers and their gradients only"):
        StatisticsGap(load(folder, "gradients")[0].network)


# The first tangent compiles formulas of torch's own.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_a_black_box_cannot_be_differentiated_and_counts(folder):
    box = load(folder, "logits")[0]
    images = torch.rand(5, 3, SIDE, SIDE)
    with pytest.raises(AccessError, match="cannot be differentiated"):
        box.logits(images.clone().requires_grad_())
    with pytest.raises(AccessError, match="cannot be differentiated"), forward_ad.dual_level():
        box.logits(forward_ad.make_dual(images, torch.ones_like(images)))
    with pytest.raises(AccessError, match="cannot be differentiated"):
        box.network._forward(images.clone().requires_grad_())
    assert box.network.queries == 0
    for asked in (5, 8):
        assert not box.logits(images).requires_grad
        images = torch.rand(3, 3, SIDE, SIDE)
        assert box.network.queries == asked


def test_the_wrapper_is_no_network_to_be_copied(folder):
    with pytest.raises((AccessError, TypeError)):
        copy.deepcopy(load(folder, "gradients")[0].network).parameters()
