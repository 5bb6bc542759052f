"""Pieces of work side by side: order, threads, errors, private copies."""

import threading
import time

import pytest
import torch
from torch import nn

from dfml.compute.workers import Abandoned, private_copy, side_by_side, still_wanted


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(threads):
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item**2

    assert list(side_by_side(slow_at_first, range(7))) == [item**2 for item in range(7)]


def test_as_many_at_once_as_torch_has_threads_with_one_each(threads):
    together = threading.Barrier(threads)

    def meet(_):
        together.wait(timeout=20)
        return torch.get_num_threads(), threading.get_ident()

    met = list(side_by_side(meet, range(threads)))
    assert {count for count, _ in met} == {1}
    assert len({thread for _, thread in met}) == threads
    assert torch.get_num_threads() == threads


def test_inside_a_piece_of_work_everything_is_in_turn(threads):
    def nested(item):
        return list(side_by_side(lambda inner: (item, inner, threading.get_ident()), range(3)))

    for item, rows in enumerate(side_by_side(nested, range(4))):
        assert [row[:2] for row in rows] == [(item, inner) for inner in range(3)]
        assert len({row[2] for row in rows}) == 1


def test_bits_do_not_depend_on_the_threads():
    draws = torch.Generator().manual_seed(0)
    matrices = [torch.randn(300, 400, generator=draws) for _ in range(5)]
    found, before = [], torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(list(side_by_side(lambda m: (m @ m.T).sum(0), matrices)))
    torch.set_num_threads(before)
    for results in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], results, strict=True))


def test_whether_gradients_are_recorded_is_the_callers_choice(threads):
    for wanted in (True, False):
        with torch.set_grad_enabled(wanted):
            assert list(side_by_side(lambda _: torch.is_grad_enabled(), range(3))) == [wanted] * 3


def test_an_error_reaches_the_caller_at_its_place(threads):
    def failing(item):
        if item == 2:
            raise ValueError("number two")
        return item

    seen = []
    with pytest.raises(ValueError, match="number two"):
        for result in side_by_side(failing, range(5)):
            seen.append(result)
    assert seen == [0, 1]


def test_work_that_nobody_waits_for_ends():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    ended, begun = threading.Event(), threading.Event()

    def endless(item):
        if item == 0:
            begun.wait(timeout=20)
            raise KeyboardInterrupt
        begun.set()
        try:
            while True:
                still_wanted()
                time.sleep(0.001)
        except Abandoned:
            ended.set()
            raise

    try:
        with pytest.raises(KeyboardInterrupt):
            list(side_by_side(endless, range(2)))
        assert ended.wait(timeout=20)
    finally:
        torch.set_num_threads(before)


def test_outside_of_any_work_it_is_wanted():
    still_wanted()


def test_private_copies_are_lent_to_one_user_at_a_time():
    module = nn.Linear(2, 2)
    with private_copy(module) as first, private_copy(module) as second:
        assert len({id(module), id(first), id(second)}) == 3
        assert torch.equal(first.weight, module.weight)
        assert first.weight.data_ptr() != second.weight.data_ptr()
    with private_copy(module) as again:
        assert again in (first, second)
