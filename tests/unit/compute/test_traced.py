"""Traced functions: the same bits, traced late, once for every form of the arguments, and not at all if need be."""

from typing import NamedTuple

import pytest
import torch

from dfml.compute import traced
from dfml.compute.traced import Traced


class Pair(NamedTuple):
    total: torch.Tensor
    parts: tuple[torch.Tensor, torch.Tensor]


def work(x, weights, *, power=2):
    scaled = [x * w for w in weights]
    return Pair(sum(scaled).exp().sum(), (scaled[0] ** power, scaled[1].mT @ scaled[0]))


class Counting:
    """The function, and how often Python ran it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *arguments, **options):
        self.calls += 1
        return work(*arguments, **options)


def arguments(rows=3, dtype=torch.float32):
    draws = torch.Generator().manual_seed(rows)
    return torch.rand(rows, 4, dtype=dtype, generator=draws), (
        torch.tensor(0.3, dtype=dtype),
        torch.tensor(2.0, dtype=dtype),
    )


def flat(result):
    total, parts = result
    return [total, *parts]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(flat(found), flat(expected), strict=True))


def test_the_same_bits_before_and_after():
    own = Traced(work)
    for _ in range(traced.CALLS_BEFORE + 4):
        assert same(own(*arguments()), work(*arguments()))
    x, weights = arguments()
    assert same(own(x + 1, weights), work(x + 1, weights))


def test_it_is_traced_once_after_some_calls_and_then_python_runs_no_more():
    function = Counting()
    own = Traced(function)
    for _ in range(traced.CALLS_BEFORE + 1):
        own(*arguments())
    assert function.calls == traced.CALLS_BEFORE + 2  # the last was traced as well
    for _ in range(5):
        own(*arguments())
    assert function.calls == traced.CALLS_BEFORE + 2


@pytest.mark.parametrize(
    ("other", "options"),
    [(arguments(rows=5), {}), (arguments(dtype=torch.float64), {}), (arguments(), {"power": 3})],
    ids=["shape", "type", "option"],
)
def test_another_form_is_another_trace(monkeypatch, other, options):
    monkeypatch.setattr(traced, "CALLS_BEFORE", 1)
    own = Traced(work)
    for _ in range(4):
        own(*arguments())
    for _ in range(4):
        assert same(own(*other, **options), work(*other, **options))
    assert same(own(*arguments()), work(*arguments()))


def test_a_named_tuple_may_be_an_argument(monkeypatch):
    monkeypatch.setattr(traced, "CALLS_BEFORE", 1)
    own, pair = Traced(lambda pair: pair[0] + pair[1][0]), work(*arguments())
    for _ in range(4):
        assert torch.equal(own(pair), pair.total + pair.parts[0])


def test_where_it_cannot_be_traced_it_is_called(monkeypatch, caplog):
    def gone(*_, **__):
        raise AttributeError("module 'torch.jit' has no attribute 'trace'")

    monkeypatch.setattr(traced, "CALLS_BEFORE", 1)
    monkeypatch.setattr(torch.jit, "trace", gone)
    function = Counting()
    own = Traced(function)
    for _ in range(5):
        assert same(own(*arguments(), power=3), work(*arguments(), power=3))
    assert function.calls == 5
    assert [record.message for record in caplog.records] == [
        "not traced, running operation by operation: module 'torch.jit' has no attribute 'trace'"
    ]
