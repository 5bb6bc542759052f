"""Batch norm with derivatives of its own, against PyTorch's and against differences."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from dfml.networks.batch_norm_function import batch_norm

EPS = 1e-5
FORMATS = (torch.contiguous_format, torch.channels_last)


def inputs(memory_format=torch.contiguous_format, *, tasks=()):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(*tasks, 4, 3, 5, 2, dtype=torch.float64, generator=draws)
    if not tasks:
        x = x.contiguous(memory_format=memory_format)
    scale, shift = (torch.randn(*tasks, 3, dtype=torch.float64, generator=draws) for _ in range(2))
    return [t.requires_grad_() for t in (x, scale, shift)]


def pytorchs(x, scale, shift):
    return F.batch_norm(x, None, None, scale, shift, training=True, eps=EPS)


def ours(x, scale, shift):
    return batch_norm(x, scale, shift, EPS)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_values_and_first_derivatives_are_pytorchs(memory_format):
    given = inputs(memory_format)
    assert torch.equal(ours(*given), pytorchs(*given))
    for mine, theirs in zip(
        *(torch.autograd.grad(f(*given).sin().sum(), given) for f in (ours, pytorchs)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_derivatives_of_both_orders_match_differences(memory_format):
    given = inputs(memory_format)
    checks = {"raise_exception": True, "check_undefined_grad": False}
    assert torch.autograd.gradcheck(ours, given, **checks)
    assert torch.autograd.gradgradcheck(ours, given, **checks)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("of", [0, 1, 2])
def test_second_derivatives_are_pytorchs(memory_format, of):
    """Through the gradient with respect to one input at a time, so that the other cotangents are zero."""
    given = inputs(memory_format)
    found = []
    for function in (ours, pytorchs):
        (first,) = torch.autograd.grad(function(*given).sin().sum(), [given[of]], create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), given))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shared", [(), (0,), (1, 2), (1,)])
def test_a_batch_of_tasks_is_each_task_alone(shared):
    """In every mixture of inputs of each task's own and inputs that the tasks share, to second order."""
    tasks = 3
    given = [
        t if i not in shared else t[0].detach().clone().requires_grad_() for i, t in enumerate(inputs(tasks=(tasks,)))
    ]
    dims = tuple(None if i in shared else 0 for i in range(3))

    def measure(*arguments):
        gradients = grad(lambda *a: ours(*a).sin().sum(), argnums=(0, 1, 2))(*arguments)
        return sum(g.square().sum() for g in gradients)

    together = vmap(measure, in_dims=dims)(*given)
    alone = []
    for task in range(tasks):
        own = [t if i in shared else t[task] for i, t in enumerate(given)]
        gradients = torch.autograd.grad(pytorchs(*own).sin().sum(), own, create_graph=True)
        alone.append(sum(g.square().sum() for g in gradients))
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-10, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(together.sum(), given), torch.autograd.grad(sum(alone), given), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
