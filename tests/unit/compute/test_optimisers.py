"""Our optimisers against torch's."""

import pytest
import torch

from dfml.compute.optimisers import SGD, Adam
from dfml.compute.state import collect, restore

CASES = {
    "adam": (lambda p: Adam([p], [0.01]), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam_betas_decay": (
        lambda p: Adam([p], [0.01], betas=(0.5, 0.999), weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.999), weight_decay=0.1),
    ),
    "sgd": (lambda p: SGD([p], [0.01]), lambda p: torch.optim.SGD(p, lr=0.01)),
    "sgd_momentum_decay": (
        lambda p: SGD([p], [0.01], momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    ),
}


def parameters():
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 3, 3, generator=draws)
    tensors = (torch.randn(5, generator=draws), images, images.contiguous(memory_format=torch.channels_last))
    return [t.clone().requires_grad_() for t in tensors]


def set_gradients(tensors, step):
    """Gradients in the plain memory format, whatever that of their parameter."""
    draws = torch.Generator().manual_seed(step)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=draws)


def walk(optimiser, tensors, steps):
    for step in steps:
        set_gradients(tensors, step)
        optimiser.step()


@pytest.mark.parametrize("case", CASES)
def test_same_updates_as_torch_in_every_memory_format(case):
    ours, theirs = CASES[case]
    found, expected = parameters(), parameters()
    walk(ours(found), found, range(4))
    walk(theirs(expected), expected, range(4))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
        assert a.stride() == b.stride()


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_optimiser_continues_bit_for_bit(case):
    make, _ = CASES[case]
    straight, broken = parameters(), parameters()
    walk(make(straight), straight, range(4))
    first, second = make(broken), make(broken)
    walk(first, broken, range(2))
    restore(second, collect(first))
    walk(second, broken, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(straight, broken, strict=True))


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_groups_have_rates_and_a_parameter_without_gradient_stays(kind):
    first, second, third = parameters()
    before = [p.detach().clone() for p in (first, second, third)]
    optimiser = kind([[first, second], [third]], [0.1, 0.2])
    for tensor in (first, third):
        tensor.grad = torch.ones_like(tensor)
    optimiser.step()
    torch.testing.assert_close(first, before[0] - 0.1)
    assert torch.equal(second, before[1])
    torch.testing.assert_close(third, before[2] - 0.2)
    optimiser.set_rate(0.5)
    assert optimiser.rates == [0.5, 0.5]
    optimiser.zero_grad()
    assert first.grad is None and third.grad is None


@pytest.mark.parametrize("case", CASES)
def test_memory_by_name_is_all_that_a_second_one_needs_to_go_on(case):
    make, _ = CASES[case]
    ours = parameters()
    first = make(ours)
    walk(first, ours, range(3))
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    second = make(theirs)
    names = [["a", "b", "c"]]
    told, own = first.memory(names), second.memory(names)
    kinds = {"adam": ("first", "second", "steps"), "sgd": ()}.get(case.split("_")[0], ())
    kinds = ("velocity",) if "momentum" in case else kinds
    assert told.keys() == own.keys() == {f"{kind}.{name}" for kind in kinds for name in "abc"}
    for name, tensor in own.items():
        tensor.copy_(told[name])
    walk(first, ours, range(3, 5))
    walk(second, theirs, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("power", "counts"), [(0, [1, 1, 1, 1]), (1, [1, 2, 3, 4]), (2, [2, 6, 12, 20])])
def test_the_average_weighs_steps_by_their_number_to_a_power(power, counts):
    """Of the second power t (t + 1), which comes to t² as steps grow many."""
    tensors, plain = parameters(), parameters()
    optimiser, other = Adam([tensors], [0.01], averaging=power), Adam([plain], [0.01])
    visited = []
    for step in range(4):
        walk(optimiser, tensors, [step])
        visited.append([p.detach().clone() for p in tensors])
    walk(other, plain, range(4))
    assert all(torch.equal(a, b) for a, b in zip(tensors, plain, strict=True))
    elsewhere = torch.zeros(1)
    found = optimiser.averaged({"a": tensors[0], "b": tensors[1], "c": tensors[2], "d": elsewhere})
    for index, name in enumerate("abc"):
        expected = sum(count * own[index] for count, own in zip(counts, visited, strict=True)) / sum(counts)
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-7)
    assert found["d"] is elsewhere
    assert other.averaged({"a": plain[0]})["a"] is plain[0]


def test_an_average_that_has_not_begun_is_what_it_is_of():
    moved = torch.zeros(3)
    optimiser = Adam([[moved]], [0.01], averaging=8.0)
    moved += 1  # by others: BELL's own SGD, with no replay
    assert torch.equal(optimiser.averaged({"a": moved})["a"], torch.ones(3))


def test_an_average_outlives_a_reset_and_an_interruption():
    def averages(interrupted):
        tensors = parameters()
        first = Adam([tensors], [0.01], averaging=3.0)
        walk(first, tensors, range(2))
        if interrupted:
            second = Adam([tensors], [0.01], averaging=3.0)
            restore(second, collect(first))
            first = second
        first.reset()
        walk(first, tensors, range(2, 4))
        return first.averaged(dict(zip("abc", tensors, strict=True)))

    straight, broken = averages(interrupted=False), averages(interrupted=True)
    assert all(torch.equal(own, broken[name]) for name, own in straight.items())
